// Starts a server that must not outlive this process, however this process ends.
//
// A finally block does not run on kill -9, so a watchdog does it: a tiny shell that reads a pipe
// whose other end only this process holds. The kernel closes that end when the process dies; the
// shell then stops the server at once and removes its folder. The server's own start waits for a word
// on another pipe, sent only after the watchdog knows the pid, so there is no moment in which a kill
// leaves an orphan. Both are in sessions of their own, which no Ctrl-C of a terminal reaches.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { invariant } from '../assert.ts';

export interface RunAs {
  readonly uid?: number;
  readonly gid?: number;
}

export interface WatchdogOptions {
  /** What the server is told first when this process has died; SIGKILL follows after ten seconds. */
  readonly signal: 'QUIT' | 'KILL';
  /** What goes with the server. */
  readonly folder?: string;
  readonly runAs?: RunAs;
}

export interface ServerOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** The file descriptor that takes both outputs. */
  readonly output: number;
}

// $1 is the signal, $2 the folder or nothing. Lines name the pid of the server, or none. On the end of input: stop it,
// clean up.
const WATCHDOG = `
while read -r line; do pid=$line; done
if [ "\${pid:-none}" != none ]; then
  kill -"$1" "$pid"
  tries=0
  while kill -0 "$pid" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -KILL "$pid"
fi
if [ -n "$2" ]; then rm -rf "$2"; fi
`;

/** Watches over one server at a time; a new one may be started once the last has ended. */
export class Watchdog {
  readonly #process: ChildProcess;
  readonly #runAs: RunAs;
  #server: ChildProcess | undefined;

  constructor(options: WatchdogOptions) {
    this.#runAs = options.runAs ?? {};
    this.#process = spawn('/bin/sh', ['-c', WATCHDOG, 'watchdog', options.signal, options.folder ?? ''], {
      ...this.#runAs,
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#process.unref();
  }

  /** The server's process id, or undefined while there is none. */
  get pid(): number | undefined {
    return this.#server?.pid;
  }

  /** Starts the command; the returned process has its pid from the first moment on. */
  start(command: readonly string[], options: ServerOptions): ChildProcess {
    invariant(this.#server === undefined, 'a watchdog has one server at a time');
    const script = 'read -r go && exec "$@" </dev/null';
    const server = spawn('/bin/sh', ['-c', script, 'server', ...command], {
      ...this.#runAs,
      cwd: options.cwd,
      detached: true,
      env: options.env,
      stdio: ['pipe', options.output, options.output],
    });
    server.unref();
    server.on('exit', () => {
      this.#server = undefined;
      this.#tell('none');
    });
    this.#server = server;
    this.#tell(String(server.pid));
    invariant(server.stdin !== null, 'the stdin of the server is a pipe');
    server.stdin.on('error', () => undefined); // It ended before it read the word; its exit tells.
    server.stdin.end('go\n');
    return server;
  }

  /** Ends the watchdog, and with it whatever server is left. */
  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.ref();
    const exit = once(this.#process, 'exit');
    this.#process.stdin?.end();
    await exit;
  }

  #tell(line: string): void {
    this.#process.stdin?.write(`${line}\n`);
  }
}
