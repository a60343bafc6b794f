import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Finding } from '../monitor/checks/finding.ts';
import { mergedFixes, renderFindings } from './doctor-view.ts';

const noKey = (table: string): Finding => ({
  code: 'SYN-P012',
  severity: 'error',
  table: `public.${table}`,
  what: `public.${table} has no primary key.`,
  why: 'Without one nobody can say which row an update or delete of another region means, or what it was before.',
  fix: `-- as the owner\nalter table public.${table} add primary key ("id");\n# or in the configuration: tables: { exclude: ["public.${table}"] }`,
});
const identity = (table: string): Finding => ({
  code: 'SYN-P025',
  severity: 'info',
  table: `public.${table}`,
  what: `The replica identity of public.${table} is not FULL.`,
  why: 'Events carry what a row was before.',
  fix: `-- none is needed: the agent runs this at its start\nalter table public.${table} replica identity full;`,
});
const setting: Finding = {
  code: 'SYN-P001',
  severity: 'error',
  what: 'wal_level is replica.',
  why: 'Only at the level logical does the WAL hold what changes are decoded from.',
  fix: `-- as a superuser; then restart PostgreSQL\nalter system set wal_level = 'logical';`,
};

test('one kind is told once, errors first, with statements that can be copied', () => {
  const findings = [identity('a'), identity('b'), noKey('a'), noKey('b'), setting];
  assert.equal(
    renderFindings('eu', findings, 80),
    `Errors: the agent would not start, a table would stay out, or regions would differ

✖ SYN-P001 wal_level is replica.
  Only at the level logical does the WAL hold what changes are decoded from.
-- as a superuser; then restart PostgreSQL
alter system set wal_level = 'logical';

✖ SYN-P012 public.a has no primary key.
           public.b has no primary key.
  Without one nobody can say which row an update or delete of another region
  means, or what it was before.
-- as the owner
alter table public.a add primary key ("id");
alter table public.b add primary key ("id");
# or in the configuration: tables: { exclude: ["public.a","public.b"] }

Notes: worth knowing, nothing is needed

i SYN-P025 Replica identity is not FULL yet: public.a, public.b.
  Events carry what a row was before.

eu: 3 errors, 0 warnings, 2 notes`,
  );
});

test('what is fit is said to be, with its notes', () => {
  assert.equal(renderFindings('eu', [], 80), 'eu is fit');
  assert.match(renderFindings('eu', [identity('a')], 80), /\neu is fit \(1 note\)$/);
});

test('hundreds of tables stay a paragraph, and no statement is left out', () => {
  const names = Array.from({ length: 300 }, (_, index) => `t${index}`);
  const text = renderFindings('eu', [...names.map(noKey), ...names.map(identity)], 80);
  assert.match(text, /… and 292 more, which --json lists\./);
  assert.match(text, /public\.t5\n? *and 294 more\./);
  assert.equal(text.match(/^alter table public\.t\d+ add primary key/gm)?.length, 300);
  assert.equal(text.match(/^-- as the owner$/gm)?.length, 1);
});

test('statements keep the comment that says who runs them', () => {
  const fixes = ['-- as the owner\na;', '-- as a superuser\nb;', '-- as the owner\nc;', '# a setting', '# a setting'];
  assert.deepEqual(mergedFixes(fixes), [
    '-- as the owner',
    'a;',
    '-- as a superuser',
    'b;',
    '-- as the owner',
    'c;',
    '# a setting',
  ]);
});
