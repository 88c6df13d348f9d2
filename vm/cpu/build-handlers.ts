/** Part of the build: writes the interpreter's handlers to where the CPU's thread finds them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildHandlers, HANDLERS_FILE, packHandlers } from './handlers.ts';

const folder = fileURLToPath(new URL('../../bin/', import.meta.url));
mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}${HANDLERS_FILE}`, packHandlers(buildHandlers()));
