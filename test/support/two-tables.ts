/** Two tables of the same rows, for tests of locks: one that is locked, and one that is beside it. */
import assert from 'node:assert/strict';
import { agentStatus } from './agent-client.ts';
import type { Cluster } from './cluster.ts';

export const twoTables = (rows: number): string => `
create table item (id int primary key, v text); create table other (id int primary key, v text);
insert into item select n, 'start' from generate_series(1, ${rows}) as n;
insert into other select n, 'start' from generate_series(1, ${rows}) as n`;

/** All is applied and equal, nothing was set aside, and no lane had to begin anew. */
export async function endsWell(cluster: Cluster): Promise<void> {
  await cluster.settle();
  for (const table of ['item', 'other']) await cluster.equal(`select * from ${table} order by id`);
  for (const region of cluster.regions) {
    assert.equal((await agentStatus(region)).apply.restarts, 0);
    assert.equal(await region.one('select count(*) from syncline.quarantine'), '0');
  }
}
