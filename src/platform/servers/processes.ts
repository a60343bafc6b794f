// Looks at processes of this machine: who is whose child, and who is still alive. /proc tells on
// Linux, where containers often lack `ps`; elsewhere `ps` does.

import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  readonly isZombie: boolean;
}

/** The pids whose parent is the given process. */
export async function childrenOf(parent: number): Promise<number[]> {
  return (await listProcesses()).filter((row) => row.parent === parent).map((row) => row.pid);
}

/** Whether the process exists and is more than a zombie that waits for its parent. */
export async function isAlive(pid: number): Promise<boolean> {
  if (process.platform === 'linux') {
    const row = await readLinuxProcess(String(pid));
    return row !== undefined && !row.isZombie;
  }
  return (await listProcesses()).some((row) => row.pid === pid && !row.isZombie);
}

async function listProcesses(): Promise<ProcessRow[]> {
  if (process.platform !== 'linux') {
    const { stdout } = await run('ps', ['-A', '-o', 'pid=,ppid=,stat=']);
    return stdout
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields.length >= 3)
      .map(([pid, parent, state]) => ({
        pid: Number(pid),
        parent: Number(parent),
        isZombie: state?.startsWith('Z') === true,
      }));
  }
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const rows = await Promise.all(names.map(readLinuxProcess));
  return rows.filter((row) => row !== undefined);
}

/** Fields of /proc/<pid>/stat: `pid (name) state parent …`, where the name may hold anything. */
async function readLinuxProcess(name: string): Promise<ProcessRow | undefined> {
  const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { pid: Number(name), parent: Number(parent), isZombie: state === 'Z' };
}
