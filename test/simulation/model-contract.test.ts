// The model of PostgreSQL keeps the contract of the apply port, as real servers do.

import { applyPortContract } from '../support/apply-port-contract.ts';
import { makeModelHarness } from './model-harness.ts';

applyPortContract('the model of PostgreSQL', makeModelHarness);
