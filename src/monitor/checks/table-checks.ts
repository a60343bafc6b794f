// Whether the tables that the configuration names can be replicated: each has a key that means the
// same in every region, and nothing in the database changes a row on its way in.
//
// A table stands for its partitions, so what they inherit is told once, of the root; what excludes rows in a partition alone is
// told in `partition-checks.ts`. Privileges are told once per owner or schema, because one grant mends them all.

import { captureName } from '../../capture/tables/publication.ts';
import { lackingIdentity } from '../../capture/tables/publication-plan.ts';
import { type CatalogTable, readTables } from '../../capture/tables/table-catalog.ts';
import { REGISTRY_SCHEMA } from '../../change/merge-registry.ts';
import type { Config } from '../../platform/config.ts';
import { type PostgresClient, quoteIdent } from '../../platform/postgres.ts';
import { isTableIncluded } from '../../platform/table-filter.ts';
import { readFillingSequences } from '../../sequences/filling-sequences.ts';
import { type Finding, listed, nameOf, orExclude } from './finding.ts';
import { keyFindings } from './key-checks.ts';
import { partitionFindings } from './partition-checks.ts';
import { relationFindings } from './relation-checks.ts';
import { sequenceFindings } from './sequence-checks.ts';
import { readTableDetails, type TableDetails } from './table-details.ts';

export async function checkTables(client: PostgresClient, config: Config): Promise<Finding[]> {
  const all = (await readTables(client)).filter(({ schema }) => schema !== REGISTRY_SCHEMA);
  const roots = all.filter((each) => isNamed(each, config));
  if (roots.length === 0) return [noTables(config)];
  const below = new Set(roots.flatMap((each) => each.leaves.map(nameOf)));
  const tables = all.filter((each) => roots.includes(each) || below.has(nameOf(each)));
  const { rows } = await client.query('select current_user as role');
  const role = String(rows[0]?.role);
  const publication = captureName(config.region);
  const details = await readTableDetails(
    client,
    tables.map((each) => each.oid),
    publication,
  );
  const byOid = new Map(tables.map((each) => [each.oid, each]));
  const local: TableDetails[] = [];
  const findings = roots.flatMap(storageFindings);
  for (const detail of details) {
    const table = byOid.get(detail.oid);
    if (table === undefined || table.kind === 'f') continue;
    local.push(detail);
    const isRoot = roots.includes(table);
    findings.push(...keyFindings(table, detail, isRoot));
    findings.push(...triggerFindings(table, detail));
    findings.push(...ruleFindings(table, detail));
    findings.push(...securityFindings(table, detail, role));
    if (isRoot) findings.push(...noticeFindings(table, detail));
  }
  findings.push(...ownershipFindings(local, byOid, config, role), ...privilegeFindings(local, role));
  const sequences = await readFillingSequences(
    client,
    local.map(({ oid }) => oid),
  );
  findings.push(...sequenceFindings(sequences, config));
  findings.push(...(await partitionFindings(client, roots)), ...(await relationFindings(client, config, tables)));
  return findings;
}

/** Partitions publish through the topmost table above them that is named. */
function isNamed(table: CatalogTable, { tables: filter }: Config): boolean {
  const isIncluded = (each: { schema: string; table: string }): boolean =>
    isTableIncluded(filter, each.schema, each.table);
  return isIncluded(table) && !table.ancestors.some(isIncluded);
}

function noTables(config: Config): Finding {
  return {
    code: 'SYN-P030',
    severity: 'warning',
    what: `No table is named by ${config.tables.include.join(', ')}.`,
    why: 'There is nothing to replicate yet.',
    fix: '# in the configuration: tables.include, with names as they are stored: public.orders, not PUBLIC.Orders',
  };
}

/** A partition that is not in the WAL takes its whole table out. */
function storageFindings(root: CatalogTable): Finding[] {
  const findings: Finding[] = [];
  for (const leaf of root.leaves) {
    const name = nameOf(leaf);
    if (leaf.kind === 'f') {
      const isAlone = root.kind === 'f';
      findings.push({
        code: 'SYN-P024',
        severity: isAlone ? 'warning' : 'error',
        table: name,
        what: isAlone
          ? `${name} is a foreign table.`
          : `${nameOf(root)} has ${name}, a foreign table, among its partitions.`,
        why: 'Its rows live in another server, whose WAL this server does not see.',
        fix: orExclude(root).replace('or in', 'in'),
      });
    } else if (leaf.kind !== 'p' && leaf.persistence === 'u') {
      findings.push({
        code: 'SYN-P021',
        severity: 'error',
        table: name,
        what: `${name} is unlogged.`,
        why: 'Its changes are not in the WAL, so no other region would ever see them.',
        fix: `-- as the owner; it writes the whole table once
alter table ${quoteIdent(leaf.schema)}.${quoteIdent(leaf.table)} set logged;
${orExclude(root)}`,
      });
    }
  }
  return findings;
}

function triggerFindings(table: CatalogTable, detail: TableDetails): Finding[] {
  return detail.triggers.map(({ name, beforeRow, internal }) => {
    const harmful = beforeRow || internal;
    const why = internal
      ? 'A foreign key that is checked while rows are applied refuses rows whose parents are still on their way.'
      : beforeRow
        ? 'It changes or drops rows as they are applied, so that this region ends up with others than its peers.'
        : 'What it writes comes in addition to what its counterpart at the source wrote, which is replicated too. It runs as the role of the agent, which needs the rights for that, unless its function is SECURITY DEFINER.';
    return {
      code: 'SYN-P022',
      severity: harmful ? 'error' : 'warning',
      table: nameOf(table),
      what: `The trigger ${name} of ${nameOf(table)} is enabled for replicated rows (ENABLE ALWAYS or REPLICA).`,
      why,
      fix: `-- as the owner${internal ? ', a superuser' : ''}\nalter table ${detail.name} enable trigger ${quoteIdent(name)};`,
    };
  });
}

/** Any rule on UPDATE, even one that is disabled, makes PostgreSQL refuse INSERT … ON CONFLICT. */
function ruleFindings(table: CatalogTable, detail: TableDetails): Finding[] {
  return detail.rules.map(({ name, event, acts }) => {
    const isUpdate = event === 'update';
    return {
      code: 'SYN-P022',
      severity: 'error',
      table: nameOf(table),
      what: isUpdate
        ? `${nameOf(table)} has a rule on UPDATE, ${name}.`
        : `The rule ${name} of ${nameOf(table)} is enabled for replicated rows (ENABLE ALWAYS or REPLICA).`,
      why: isUpdate
        ? 'PostgreSQL refuses INSERT … ON CONFLICT on a table with such a rule, and that is how rows are applied.'
        : 'It would rewrite the statements by which rows are applied.',
      fix: isUpdate
        ? `-- as the owner; a trigger can do what the rule ${acts ? 'does' : 'did'}\ndrop rule ${quoteIdent(name)} on ${detail.name};`
        : `-- as the owner\nalter table ${detail.name} enable rule ${quoteIdent(name)};`,
    };
  });
}

function securityFindings(table: CatalogTable, detail: TableDetails, role: string): Finding[] {
  if (!detail.rowSecurity) return [];
  const noForce = detail.ownerIsUs && detail.rowSecurityForced;
  return [
    {
      code: 'SYN-P023',
      severity: 'error',
      table: nameOf(table),
      what: `Row security of ${nameOf(table)} applies to the role ${role}.`,
      why: 'Its policies would hide rows from the agent, or refuse rows that other regions have.',
      fix: noForce
        ? `-- as the owner\nalter table ${detail.name} no force row level security;`
        : `-- as a superuser\nalter role ${quoteIdent(role)} bypassrls;`,
    },
  ];
}

/** What is worth knowing and needs nothing. */
function noticeFindings(table: CatalogTable, detail: TableDetails): Finding[] {
  const findings: Finding[] = [];
  const name = nameOf(table);
  if (lackingIdentity(table).length > 0) {
    findings.push({
      code: 'SYN-P025',
      severity: 'info',
      table: name,
      what: `The replica identity of ${name} is not FULL.`,
      why: 'Events carry what a row was before, so that large unchanged values and conflicts are whole.',
      fix: `-- none is needed: the agent runs this at its start\nalter table ${detail.name} replica identity full;`,
    });
  }
  if (detail.otherUniques.length > 0 || detail.exclusions.length > 0) {
    findings.push({
      code: 'SYN-P026',
      severity: 'info',
      table: name,
      what: `${name} has other unique or exclusion constraints besides its key: ${listed([...detail.otherUniques, ...detail.exclusions])}.`,
      why: 'Two regions can take the same value at once; the older of the two rows then leaves the table in every region, and is parked until the value is free.',
      fix: '-- none is needed where values cannot clash, such as UUIDs or values with the region in them',
    });
  }
  if (detail.generated.length > 0) {
    findings.push({
      code: 'SYN-P027',
      severity: 'info',
      table: name,
      what: `${name} has generated columns: ${listed(detail.generated)}.`,
      why: 'Each region computes them by itself: another expression, or another body of a function in it, gives other values.',
      fix: '-- none is needed if expressions and functions are the same in all regions',
    });
  }
  return findings;
}

/** Owning a table is needed to set its replica identity and to publish it; not where both is done already. */
function ownershipFindings(
  details: readonly TableDetails[],
  byOid: ReadonlyMap<number, CatalogTable>,
  config: Config,
  role: string,
): Finding[] {
  const byOwner = new Map<string, TableDetails[]>();
  for (const detail of details) {
    const table = byOid.get(detail.oid);
    // Partitions are published by their root.
    const isPublished = detail.published || (table !== undefined && !isNamed(table, config));
    const isReady = isPublished && table !== undefined && lackingIdentity(table).length === 0;
    if (detail.ownerIsUs || isReady) continue;
    byOwner.set(detail.owner, [...(byOwner.get(detail.owner) ?? []), detail]);
  }
  return [...byOwner].map(([owner, owned]) => {
    // Membership in a superuser's role would let the agent become that superuser.
    const transfer = owned.map(({ name }) => `alter table ${name} owner to ${quoteIdent(role)};`).join('\n');
    const fix = owned[0]?.ownerIsSuperuser ? transfer : `grant ${quoteIdent(owner)} to ${quoteIdent(role)};`;
    return {
      code: 'SYN-P011',
      severity: 'error',
      what: `The role ${role} does not own ${listed(owned.map(({ name }) => name))}, which ${owner} owns.`,
      why: 'Only the owner of a table may publish it and set its replica identity.',
      fix: `-- as a superuser\n${fix}`,
    };
  });
}

function privilegeFindings(details: readonly TableDetails[], role: string): Finding[] {
  const findings: Finding[] = [];
  const to = `to ${quoteIdent(role)};`;
  const why = 'The agent writes what other regions changed, and reads what is there.';
  const closed = [...new Set(details.filter((each) => !each.schemaUsable).map((each) => each.schema))];
  for (const schema of closed) {
    const fix = `-- as the owner of the schema\ngrant usage on schema ${quoteIdent(schema)} ${to}`;
    const what = `The role ${role} may not use the schema ${schema}.`;
    findings.push({ code: 'SYN-P011', severity: 'error', what, why, fix });
  }
  const lacking = details.filter((each) => each.missing.length > 0);
  if (lacking.length > 0) {
    const grants = lacking.map(({ missing, name }) => `grant ${missing.join(', ').toLowerCase()} on ${name} ${to}`);
    const what = `The role ${role} lacks privileges on ${listed(lacking.map(({ name }) => name))}.`;
    const fix = `-- as the owner of the tables\n${grants.join('\n')}`;
    findings.push({ code: 'SYN-P011', severity: 'error', what, why, fix });
  }
  return findings;
}
