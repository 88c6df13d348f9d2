/**
 * Progress of long runs, on stderr: on a terminal one line that changes, elsewhere a line a step.
 */

/** Says what is being done. */
export type Progress = (text: string) => void;

/** @param part - what each line begins with */
export function progressOf(part: string): Progress {
  return (text) => {
    const line = `${part}: ${text}`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
  };
}

/** Ends the line that changes, before something else is printed. */
export function endProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}
