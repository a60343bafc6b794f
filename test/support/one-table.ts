/** The shape of a plain table `t (id …, v …)`, for tests that need one and no database. */
import type { TableShape } from '../../src/apply/apply-port.ts';

export const ONE_TABLE: TableShape = {
  id: '"public"."t"',
  schema: 'public',
  table: 't',
  key: ['id'],
  columns: ['id', 'v'],
  keyNeedsDatabase: false,
  hasClaims: false,
};
