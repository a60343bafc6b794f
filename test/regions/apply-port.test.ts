// The apply port's contract on real servers: the newest version that is supported, and an older one.

import { after, before, describe } from 'node:test';
import { applyPortContract } from '../support/apply-port-contract.ts';
import { type SqlHarnesses, startSqlHarnesses } from '../support/sql-apply-harness.ts';

for (const version of [18, 15] as const) {
  describe(`on PostgreSQL ${version}`, { concurrency: false }, () => {
    let harnesses: SqlHarnesses;
    before(async () => {
      harnesses = await startSqlHarnesses(version);
    });
    after(() => harnesses[Symbol.asyncDispose]());
    applyPortContract(`PostgreSQL ${version}`, (options) => harnesses.make(options));
  });
}
