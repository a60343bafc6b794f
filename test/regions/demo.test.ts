import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { checkStory, DemoFolder, OPEN } from '../support/demo-process.ts';

describe('the demo', () => {
  let folder: DemoFolder;
  before(async () => {
    folder = await DemoFolder.create();
  });
  after(async () => await folder?.[Symbol.asyncDispose]());

  test('loses a region, brings it back, and ends with equal regions and the result as JSON', async () => {
    const demo = folder.start(['--seconds', '8', '--json']);
    await demo.exit;
    checkStory(demo);
    assert.deepEqual(await folder.leftovers(), []);
  });

  test('SIGINT and SIGTERM end everything in order', async () => {
    for (const [signal, exitCode] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const demo = folder.start(['--seconds', '600']);
      await demo.saying(OPEN);
      demo.child.kill(signal);
      await demo.exit;
      assert.equal(demo.child.exitCode, exitCode, demo.stderr);
      assert.deepEqual(await folder.leftovers(), []);
    }
  });

  test('kill -9 leaves nothing behind either', async () => {
    const demo = folder.start(['--seconds', '600']);
    await demo.saying(OPEN);
    demo.child.kill('SIGKILL');
    await demo.exit;
    await folder.isEmpty();
  });

  test('a start that fails says what, where and what to do', async () => {
    const demo = folder.start([], { TMPDIR: join(folder.path, 'missing') });
    await demo.exit;
    assert.equal(demo.child.exitCode, 1);
    assert.match(demo.stderr, /SYN-D005/);
    assert.match(demo.stderr, /missing/);
    assert.match(demo.stderr, /Set TMPDIR/);
    const wrong = folder.start(['--seconds', '1']);
    await wrong.exit;
    assert.notEqual(wrong.child.exitCode, 0);
    assert.match(wrong.stderr, /expected 5 to 3600/);
  });
});
