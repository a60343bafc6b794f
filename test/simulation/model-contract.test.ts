// The model of PostgreSQL keeps the contract of the apply port, as real servers do.

import { applyPortContract } from '../support/apply-port-contract.ts';
import { signatureContract } from '../support/apply-port-contract-signatures.ts';
import type { MakeHarness } from '../support/apply-port-harness.ts';
import { makeModelHarness } from './model-harness.ts';

applyPortContract('the model of PostgreSQL', makeModelHarness);

const makeSigning: MakeHarness = (options) => makeModelHarness({ ...options, signs: true });
applyPortContract('the model of PostgreSQL, without replication origins', makeSigning);
signatureContract(makeSigning);
