import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { claimPort, freePort, freePorts, isPortFree } from './free-port.ts';

const MODULE = new URL('./free-port.ts', import.meta.url).href;

async function inAnotherProcess(expression: string): Promise<string> {
  const script = `import * as ports from ${JSON.stringify(MODULE)}; console.log(String(${expression}));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  return stdout.trim();
}

test('keeps a number that it gave from everybody who asks, though nobody listens there yet', async () => {
  const port = await freePort();
  assert.equal(await isPortFree(port), true);
  assert.equal(await claimPort(port), false);
  assert.equal(await inAnotherProcess(`await ports.claimPort(${port})`), 'false');
});

test('a number is free again once the process that had it has ended', async () => {
  const port = Number(await inAnotherProcess('await ports.freePort()'));
  assert.equal(await claimPort(port), true);
});

test('gives so many numbers, no two the same', async () => {
  const ports = await freePorts(20);
  assert.equal(new Set(ports).size, 20);
});
