// Takes care that no process of the demo outlives it, however it ends, and that its folder goes too.
//
// A finally block does not run on kill -9, so a tiny shell waits beside the demo, reading a pipe whose
// other end only the demo holds. The kernel closes that end with the demo; the shell then ends what
// the last line named and removes the folder. It has a session of its own, so that the Ctrl-C which
// the terminal sends to the whole group does not end it first.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

const WATCHDOG = `
while read -r line; do pids=$line; done
if [ -n "\${pids:-}" ]; then kill -KILL $pids; fi
rm -rf "$1"
`;

export class OrphanWatch {
  readonly #watchdog: ChildProcess;
  readonly #pids = new Set<number>();

  constructor(folder: string) {
    this.#watchdog = spawn('/bin/sh', ['-c', WATCHDOG, 'watchdog', folder], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#watchdog.unref();
    this.#watchdog.stdin?.on('error', () => undefined); // Somebody ended the shell; nothing to tell it then.
  }

  /** Watches the process until it exits. */
  add(child: ChildProcess): void {
    const { pid } = child;
    if (pid === undefined) return;
    this.#pids.add(pid);
    this.#tell();
    child.once('exit', () => {
      this.#pids.delete(pid);
      this.#tell();
    });
  }

  /** Lets the shell do its work now; resolves once the folder is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#watchdog.exitCode !== null || this.#watchdog.signalCode !== null) return;
    this.#watchdog.ref();
    const exit = once(this.#watchdog, 'exit');
    this.#watchdog.stdin?.end();
    await exit;
  }

  #tell(): void {
    this.#watchdog.stdin?.write(`${[...this.#pids].join(' ')}\n`);
  }
}
