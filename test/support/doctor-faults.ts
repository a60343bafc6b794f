/**
 * A fault of a database as doctor is to find it: what causes it, by whom, and what is found then. A test for each proves
 * that exactly that is found, that it stops an agent where it is to, and that what is printed mends it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CheckCode } from '../../src/monitor/checks/check-list.ts';
import type { Finding } from '../../src/monitor/checks/finding.ts';
import { checkPrerequisites, LEAVES_OUT_TABLE } from '../../src/monitor/checks/prerequisites.ts';
import { connect } from '../../src/platform/postgres.ts';
import type { PostgresMajor } from '../../src/platform/servers/postgres-binaries.ts';
import type { Clinic, Patient } from './doctor-clinic.ts';
import { DEFAULT_MAJOR } from './postgres-majors.ts';

export type Fault = {
  readonly name: string;
  /** The first version of PostgreSQL that knows what it takes. */
  readonly since?: PostgresMajor;
  readonly code: CheckCode;
  readonly severity?: Finding['severity'];
  /** Run by the owner of the database. */
  readonly owner?: readonly string[];
  readonly superuser?: readonly string[];
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  /** Run by a superuser after all others. */
  readonly later?: readonly string[];
  readonly what?: RegExp;
  /** What else comes with it and is no fault. */
  readonly besides?: readonly CheckCode[];
};

/** A table that nothing is wrong with. */
export const T = 'create table public.t (id uuid primary key, v text)';

/** Infos need nothing, and an empty database is none of the faults. */
export const faultsIn = (findings: readonly Finding[]): Finding[] =>
  findings.filter(({ severity, code }) => severity !== 'info' && code !== 'SYN-P030');

export async function withFault(clinic: Clinic, fault: Fault): Promise<Patient> {
  const patient = await clinic.admit();
  const { include = ['public.*'], exclude = [] } = fault;
  patient.config = { ...patient.config, tables: { include: [...include], exclude: [...exclude] } };
  await patient.asSuperuser(...(fault.superuser ?? []));
  await patient.asOwner(...(fault.owner ?? []));
  await patient.asSuperuser(...(fault.later ?? []));
  return patient;
}

/** A test for each fault, in the clinic that is open by then. */
export function testMending(faults: readonly Fault[], clinic: () => Clinic): void {
  for (const fault of faults.filter(({ since = DEFAULT_MAJOR }) => since <= DEFAULT_MAJOR)) {
    test(fault.name, async () => {
      const { code, severity = 'error', besides = [] } = fault;
      await using patient = await withFault(clinic(), fault);
      const found = await patient.findings();
      const others = faultsIn(found).filter((each) => each.code !== code && !besides.includes(each.code));
      assert.deepEqual(others, [], 'nothing else is wrong');
      const mine = found.filter((each) => each.code === code);
      assert.ok(mine.length > 0 && mine.every((each) => each.severity === severity), JSON.stringify(found, null, 2));
      await using client = await connect(patient.url, { applicationName: 'syncline test' });
      // A table that is unfit is left out, and the agent serves the others.
      const stops = severity === 'error' && !LEAVES_OUT_TABLE.has(code);
      if (stops) await assert.rejects(checkPrerequisites(client, patient.config), { code });
      else await checkPrerequisites(client, patient.config);
      for (const { fix } of mine) await patient.mend(fix);
      const left = await patient.findings();
      assert.deepEqual(
        left.filter((each) => (each.code === code && each.severity === severity) || each.severity === 'error'),
        [],
      );
    });
  }
}
