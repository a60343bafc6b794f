import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PostgresClient } from '../../platform/postgres.ts';
import { confirmedEnd } from './slot.ts';

test('what is confirmed bears a mark, but not where a commit may wait for it to be confirmed to its end', async () => {
  for (const [has_standbys, confirmed] of [
    ['f', 799n],
    ['t', 800n],
  ] as const) {
    const client = { query: async () => ({ rows: [{ has_standbys }], rowCount: 1 }) } as unknown as PostgresClient;
    assert.equal((await confirmedEnd(client))(800n), confirmed);
  }
});
