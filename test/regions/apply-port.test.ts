// The apply port's contract on real servers: the oldest and the newest version that are supported, and one between. Whether
// rows are taken for likely to be new makes no difference to it.

import { after, before, describe } from 'node:test';
import type { ApplyPort } from '../../src/apply/apply-port.ts';
import { applyPortContract } from '../support/apply-port-contract.ts';
import { signatureContract } from '../support/apply-port-contract-signatures.ts';
import type { ApplyPortHarness, MakeHarness } from '../support/apply-port-harness.ts';
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
    const makeSigning: MakeHarness = (options) => harnesses.make({ ...options, signs: true });
    signatureContract(makeSigning);
    // Versions differ in nothing that a signature takes, nor in how a row that is likely to be new is sent: one has all of it.
    if (version !== CONTRACT_MAJORS.at(-1)) return;
    applyPortContract(`PostgreSQL ${version}, without replication origins`, makeSigning);
    applyPortContract(`PostgreSQL ${version}, all rows likely to be new`, async (options) => {
      return await takenForNew(() => harnesses.make(options));
    });
  });
}

/** The harness, with a port that is told of every row that it is likely to be new. */
async function takenForNew(make: () => Promise<ApplyPortHarness>): Promise<ApplyPortHarness> {
  const harness = await make();
  const { port } = harness;
  const begin = port.begin.bind(port);
  port.begin = async (...batch: Parameters<ApplyPort['begin']>) => {
    const transaction = await begin(...batch);
    const upsert = transaction.upsert.bind(transaction);
    transaction.upsert = async (shape, rows, origin, guard) => {
      const likely = rows.map((row) => ({ ...row, isNew: true }));
      return await upsert(shape, likely, origin, guard);
    };
    return transaction;
  };
  return harness;
}
