// The apply port's contract on real servers: the oldest and the newest version that are supported, and one between.

import { after, before, describe } from 'node:test';
import { applyPortContract } from '../support/apply-port-contract.ts';
import { CONTRACT_MAJORS } from '../support/postgres-majors.ts';
import { type SqlHarnesses, startSqlHarnesses } from '../support/sql-apply-harness.ts';

for (const version of CONTRACT_MAJORS) {
  describe(`on PostgreSQL ${version}`, { concurrency: false }, () => {
    let harnesses: SqlHarnesses;
    before(async () => {
      harnesses = await startSqlHarnesses(version);
    });
    after(() => harnesses[Symbol.asyncDispose]());
    applyPortContract(`PostgreSQL ${version}`, (options) => harnesses.make(options));
  });
}
