/** What regions hold of a table whose rows claim unique values: what is visible, and what is parked. */
import type { TrapWorld } from './traps.ts';
import { waitFor } from './wait-for.ts';

export type Rows = readonly (readonly (string | null)[])[];

/** What is parked of a table, as texts of its whole rows in key order. */
function parkedOf(table: string): string {
  return `select image::jsonb::text from syncline.parked where table_name = '${table}' order by key`;
}

/** Waits until every region holds these rows, and parks these, and then makes sure that the parked ones are alike throughout. */
export async function ends(world: TrapWorld, table: string, query: string, rows: Rows, parked: Rows): Promise<void> {
  await world.settle();
  const expected = JSON.stringify([rows, parked]);
  for (const region of world.regions) {
    await waitFor(
      async () => {
        const actual = JSON.stringify([await region.sql(query), await region.sql(parkedOf(table))]);
        if (actual !== expected) throw new Error(`it has ${actual}`);
        return true;
      },
      { what: `${region.name} to come to ${expected}` },
    );
  }
  await world.cluster.equal(
    `select parked_id, key, row_pk::text, image::jsonb, hlc, origin from syncline.parked
     where table_name = '${table}' order by parked_id`,
  );
}

/** A row as `jsonb` prints it. */
export function image(row: Readonly<Record<string, string | null>>): string {
  const names = Object.keys(row).sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  return `{${names.map((name) => `"${name}": ${JSON.stringify(row[name])}`).join(', ')}}`;
}
