/** All instructions: importing this fills the table. */
import './integer.ts';
import './control.ts';
import './string.ts';
import './x87.ts';
import './sse.ts';

export { ENTRIES, type Entry } from './table.ts';
