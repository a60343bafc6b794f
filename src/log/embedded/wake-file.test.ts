import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { waitFor } from '../../../test/support/wait-for.ts';
import { WakeFile } from './wake-file.ts';

const LONG_MS = 30_000;

describe('the wake file', () => {
  test('a write is a hint, and one since the last look ends a wait at once', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'syncline-wake-'));
    try {
      const path = join(folder, 'wake');
      await writeFile(path, '');
      const wake = new WakeFile(path);
      const before = wake.hints;
      await writeFile(path, '!');
      await waitFor(() => wake.hints > before, { what: 'the hint' });
      await wake.changed(before, LONG_MS, undefined);
      assert.ok(wake.hints > before);
      wake.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('without a file to watch a wait ends by polling, the signal or closing', async () => {
    const wake = new WakeFile(join(tmpdir(), 'syncline-wake-absent', 'wake'));
    await wake.changed(wake.hints, LONG_MS, undefined);
    const controller = new AbortController();
    const aborted = wake.changed(wake.hints, LONG_MS, controller.signal);
    controller.abort();
    await aborted;
    await wake.changed(wake.hints, LONG_MS, controller.signal);
    const closed = wake.changed(wake.hints, LONG_MS, undefined);
    wake.close();
    await closed;
  });

  test('a watch that stays silent while the stream grows is not relied on', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'syncline-wake-'));
    try {
      const path = join(folder, 'wake');
      await writeFile(path, '');
      const wake = new WakeFile(path);
      for (let time = 0; time < 3; time += 1) wake.missed();
      // Polls at the short interval; relying on the watch would make 20 rounds take as many seconds.
      for (let round = 0; round < 20; round += 1) await wake.changed(wake.hints, LONG_MS, undefined);
      wake.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
