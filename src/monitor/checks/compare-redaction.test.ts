import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareRedaction } from './compare-redaction.ts';
import type { Portrait, PortraitColumn } from './portrait.ts';

const column = (name: string): PortraitColumn => ({
  name,
  type: 'text',
  collation: null,
  not_null: false,
  column_default: null,
  is_serial: false,
  generated: null,
  identity: null,
});

function portrait(region: string, redact?: readonly string[]): Portrait {
  const server = {
    version: '18',
    major: 18,
    encoding: 'UTF8',
    collation: 'C',
    collation_version: null,
    collations: [],
  };
  const users = {
    schema: 'public',
    table: 'users',
    name: 'public.users',
    is_partitioned: false,
    is_replicated: true,
    columns: ['id', 'email', 'phone'].map(column),
    key: ['id'],
    checks: [],
    uniques: [],
  };
  const tables = [users, { ...users, table: 'local', name: 'public.local', is_replicated: false }];
  return { region, server, interleave: null, tables, types: [], sequences: [], ...(redact && { redact }) };
}

test('regions that withhold the same do not differ, in whichever words', () => {
  const alike: readonly (readonly [readonly string[] | undefined, readonly string[] | undefined])[] = [
    [[], undefined],
    [['public.users.email', 'public.users.phone'], ['public.users.*']],
    [['public.users.id'], []],
    [['public.local.*'], []],
    [['public.gone.*'], []],
  ];
  for (const [a, b] of alike) {
    assert.deepEqual(compareRedaction(portrait('eu', a), portrait('us', b)), []);
    assert.deepEqual(compareRedaction(portrait('eu', b), portrait('us', a)), []);
  }
});

test('what only one region withholds is told, and what both are to have', () => {
  const eu = portrait('eu', ['public.users.email']);
  const us = portrait('us', ['public.users.ph*', 'public.local.*']);
  const [found] = compareRedaction(eu, us);
  assert.deepEqual([found?.code, found?.severity], ['SYN-P160', 'warning']);
  assert.equal(
    found?.what,
    'The conflict log of eu alone withholds public.users.email. The conflict log of us alone withholds public.users.phone.',
  );
  assert.match(found?.fix ?? '', /redact: \["public\.users\.email","public\.users\.ph\*","public\.local\.\*"\]/);
  assert.equal(
    compareRedaction(eu, portrait('old'))[0]?.what,
    'The conflict log of eu alone withholds public.users.email.',
  );
});
