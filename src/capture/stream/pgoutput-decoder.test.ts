// What real servers sent for the scenario of test/fixtures/pgoutput, decoded and written out. Oids,
// positions, times and xids differ between recordings, so the texts leave them out.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  RECORDED_VERSIONS,
  type RecordedStream,
  type RecordedVersion,
  readPayloads,
} from '../../../test/fixtures/pgoutput/recording.ts';
import { BIG_VALUE, STEP_PREFIX } from '../../../test/fixtures/pgoutput/scenario.ts';
import { PgoutputDecoder } from './pgoutput-decoder.ts';
import { type PgoutputMessage, type TupleColumn, UNCHANGED_TOAST } from './pgoutput-messages.ts';

const FIRST_USER_OID = 16384;

function decodeAll(payloads: readonly Buffer[]): PgoutputMessage[] {
  const decoder = new PgoutputDecoder();
  return payloads.map((payload) => decoder.decode(payload));
}

/** The messages between the one that opens the step and the one that opens the next. */
function messagesOf(version: RecordedVersion, stream: RecordedStream, step: string): PgoutputMessage[] {
  const opens = (message: PgoutputMessage) => message.kind === 'message' && message.prefix === STEP_PREFIX;
  const messages = decodeAll(readPayloads(version, stream));
  const from = messages.findIndex((message) => opens(message) && contentOf(message) === step);
  assert.notEqual(from, -1, `the recording has no step ${step}`);
  const length = messages.slice(from + 1).findIndex(opens);
  return messages.slice(from + 1, from + 1 + length);
}

function contentOf(message: PgoutputMessage): string {
  return message.kind === 'message' ? message.content.toString('utf8') : '';
}

function tuple(values: readonly TupleColumn[] | undefined): string {
  if (values === undefined) return '-';
  const shown = values.map((value) => {
    if (value === UNCHANGED_TOAST) return 'unchanged';
    if (value === BIG_VALUE) return 'big';
    return value === null ? 'null' : JSON.stringify(value);
  });
  return `(${shown.join(' ')})`;
}

function typeName(oid: number): string {
  return oid >= FIRST_USER_OID ? 'user' : String(oid);
}

function write(message: PgoutputMessage): string {
  switch (message.kind) {
    case 'begin':
    case 'commit':
      return message.kind;
    case 'origin':
      return `origin ${message.name} ${message.commitLsn.toString(16)}`;
    case 'relation': {
      const columns = message.columns.map(
        (column) => `${column.name}${column.key ? '*' : ''}:${typeName(column.typeOid)}`,
      );
      return `relation ${message.schema}.${message.table} ${message.replicaIdentity} ${columns.join(' ')}`.trimEnd();
    }
    case 'type':
      return `type ${message.schema}.${message.name}`;
    case 'insert':
      return `insert ${message.relation.table} ${tuple(message.new)}`;
    case 'update': {
      const before = message.key === undefined ? `old ${tuple(message.old)}` : `key ${tuple(message.key)}`;
      return `update ${message.relation.table} ${before} new ${tuple(message.new)}`;
    }
    case 'delete':
      return `delete ${message.relation.table} key ${tuple(message.key)} old ${tuple(message.old)}`;
    case 'oversized':
      return `oversized ${message.relation.table}`;
    case 'truncate': {
      const options = `${message.cascade ? ' cascade' : ''}${message.restartIdentity ? ' restart' : ''}`;
      return `truncate ${message.relations.map((relation) => relation.table).join(' ')}${options}`;
    }
    case 'message':
      return `message ${message.transactional ? 'transactional' : 'alone'} ${message.prefix} ${message.content.toString('hex')}`;
  }
}

function written(version: RecordedVersion, step: string, stream: RecordedStream = 'leaf'): string[] {
  return messagesOf(version, stream, step).map(write);
}

const transaction = (...lines: readonly string[]): string[] => ['begin', ...lines, 'commit'];

for (const version of RECORDED_VERSIONS) {
  describe(`pgoutput of PostgreSQL ${version}`, () => {
    test('values of every type are their text output', () => {
      const rows = messagesOf(version, 'leaf', 'types').filter((message) => message.kind === 'insert');
      const row = (index: number): Record<string, TupleColumn> => {
        const insert = rows[index];
        assert.ok(insert);
        const entries = insert.relation.columns.map((column, at) => [column.name, insert.new[at] ?? null] as const);
        return Object.fromEntries(entries.filter(([, value]) => index === 0 || value !== null));
      };
      assert.equal(rows.length, 4);
      assert.deepEqual(row(0), {
        id: '1',
        flag: 't',
        small: '-32768',
        big: '9223372036854775807',
        num: '123456789012345678901234567890.123456789',
        money: '0.500',
        single: '0.1',
        double: '1e-300',
        txt: 'tab\t"quote" \\ ☀ \n',
        vc: 'varchar',
        ch: 'ab  ',
        bin: '\\x00ff10',
        js: '{"b": 1,  "a": [1.50]}',
        jsb: '{"a": [1.50], "b": 1}',
        uid: '0188e6a4-7c3f-7000-8000-0123456789ab',
        day: '2024-02-29',
        stamp: '2024-02-29 23:59:59.999999',
        stamp_tz: '2024-02-29 18:29:59.999999+00',
        span: '1 year 2 mons -3 days +04:05:06.789',
        tod: '24:00:00',
        tod_tz: '12:34:56.5-08',
        feeling: 'happy ☀',
        pos: '42',
        home: '("Main ""St"", 1",12345)',
        ints: '{{1,2},{3,NULL}}',
        texts: '{"a,b",NULL,"","NULL","\\""}',
        moods: '{sad,"happy ☀"}',
        homes: '{"(x,1)","(,)"}',
        range: '[1,10)',
        ranges: '{[1,3),[5,8)}',
        span_tz: '["2024-01-01 00:00:00+00",)',
        net: '10.1.2.3/24',
        bits: '10101',
        spot: '(1.5,-2)',
        words: "'cat':3A 'fat':2",
        rel: 'public.types',
        cash: '-$1,234.50',
        lsn: '16/B374D848',
      });
      assert.deepEqual(row(1), { id: '2' });
      assert.deepEqual(row(2), {
        id: '3',
        num: 'NaN',
        single: 'NaN',
        double: '-Infinity',
        txt: '',
        vc: '',
        ch: '    ',
        bin: '\\x',
        jsb: 'null',
        day: '0044-03-15 BC',
        stamp: '4713-01-01 00:00:00 BC',
        stamp_tz: 'infinity',
        ints: '{}',
        texts: '{""}',
        range: 'empty',
      });
      assert.deepEqual(row(3), {
        id: '4',
        num: 'Infinity',
        day: '-infinity',
        stamp: '294276-12-31 23:59:59.999999',
        stamp_tz: '0001-01-01 00:00:00+00 BC',
      });
    });

    test('relations name their types and modifiers, and types of users come first', () => {
      const lines = written(version, 'types');
      assert.deepEqual(lines.slice(1, 6), [
        'type public.mood',
        'type pg_catalog.int4',
        'type public.address',
        'type public._mood',
        'type public._address',
      ]);
      const relation = messagesOf(version, 'leaf', 'types').find((message) => message.kind === 'relation');
      const column = (name: string) => relation?.columns.find((candidate) => candidate.name === name);
      assert.deepEqual(column('id'), { name: 'id', typeOid: 23, typeModifier: -1, key: true });
      assert.deepEqual(column('money'), {
        name: 'money',
        typeOid: 1700,
        typeModifier: ((12 << 16) | 3) + 4,
        key: false,
      });
      assert.deepEqual(column('vc'), { name: 'vc', typeOid: 1043, typeModifier: 20 + 4, key: false });
    });

    test('unchanged TOAST with the default identity is neither null nor a value', () => {
      assert.deepEqual(written(version, 'unchanged toast, default identity'), [
        ...transaction('relation public.toast_default d id*:23 n:23 big:25', 'insert toast_default ("1" "10" big)'),
        ...transaction('update toast_default old - new ("1" "11" unchanged)'),
        ...transaction('update toast_default key ("1" null null) new ("2" "11" unchanged)'),
        ...transaction('update toast_default old - new ("2" "11" "small")'),
        ...transaction('delete toast_default key ("2" null null) old -'),
      ]);
    });

    test('unchanged TOAST with full identity is in the old row', () => {
      assert.deepEqual(written(version, 'unchanged toast, full identity'), [
        ...transaction('relation public.toast_full f id*:23 n*:23 big*:25', 'insert toast_full ("1" "10" big)'),
        ...transaction('update toast_full old ("1" "10" big) new ("1" null unchanged)'),
        ...transaction('update toast_full old ("1" null big) new ("2" null unchanged)'),
        ...transaction('delete toast_full key - old ("2" null big)'),
      ]);
    });

    test('a chosen index gives the key', () => {
      assert.deepEqual(written(version, 'identity by index'), [
        ...transaction('relation public.by_index i a*:23 b*:23 c:25', 'insert by_index ("1" "2" "c")'),
        ...transaction('update by_index old - new ("1" "2" "d")'),
        ...transaction('update by_index key ("1" "2" null) new ("1" "3" "d")'),
        ...transaction('delete by_index key ("1" "3" null) old -'),
      ]);
    });

    test('one transaction over several tables, without what was rolled back', () => {
      assert.deepEqual(
        written(version, 'several tables and savepoints'),
        transaction(
          'relation public.parent d id*:23 name:25',
          'insert parent ("1" "one")',
          'relation public.child d id*:23 parent_id:23',
          'insert child ("1" "1")',
          'relation public.lonely d id*:23',
          'insert lonely ("1")',
          'update parent old - new ("1" "")',
          'update parent old - new ("1" null)',
        ),
      );
    });

    test('truncate lists all tables with its options', () => {
      const isTruncate = (line: string) => line.startsWith('truncate');
      assert.deepEqual(written(version, 'truncate').filter(isTruncate), [
        'truncate parent lonely child cascade',
        'truncate lonely restart',
      ]);
    });

    test('logical messages, within a transaction and alone', () => {
      assert.deepEqual(written(version, 'logical messages'), [
        'message alone alone ☀ 00ff',
        ...transaction('message transactional within 7465787420e29880', 'message transactional  '),
      ]);
    });

    test('an applied transaction carries its origin and the commit time it was given', () => {
      const messages = messagesOf(version, 'leaf', 'origin');
      assert.deepEqual(messages.map(write), [
        'begin',
        'origin region-b abcdef012',
        'relation public.lonely d id*:23',
        'insert lonely ("3")',
        'commit',
      ]);
      const [begin] = messages;
      const commit = messages.at(-1);
      assert.ok(begin?.kind === 'begin' && commit?.kind === 'commit');
      assert.equal(begin.commitTimeMicros, 1_577_836_800_000_001n);
      assert.equal(commit.commitTimeMicros, begin.commitTimeMicros);
      assert.equal(commit.commitLsn, begin.finalLsn);
      assert.ok(commit.endLsn > commit.commitLsn);
      assert.equal(commit.flags, 0);
      assert.ok(begin.xid > 0);
    });

    test('mixed-case, reserved, quoted and unicode names', () => {
      const long = 'x'.repeat(63);
      assert.deepEqual(written(version, 'names'), [
        ...transaction(
          `relation Ünï Çödé.select d Mixed Case*:23 quo"ted:25 emoji 😀:25 ${long}:25`,
          'insert select ("1" "\\"" "😀" "x")',
        ),
        ...transaction('update select key ("1" null null null) new ("2" "\\"" "😀" "x")'),
      ]);
    });

    test('partitions under their own names', () => {
      assert.deepEqual(written(version, 'partitions'), [
        ...transaction(
          'relation public.parts_eu d id*:23 region*:25 note:25',
          'insert parts_eu ("1" "eu" "a")',
          'relation public.parts_us d id*:23 region*:25 note:25',
          'insert parts_us ("2" "us" "b")',
        ),
        ...transaction('update parts_eu old - new ("1" "eu" "c")'),
        ...transaction('delete parts_eu key ("1" "eu" null) old -', 'insert parts_us ("1" "us" "c")'),
        ...transaction('delete parts_us key ("2" "us" null) old -'),
        ...transaction(
          'relation public.parts_eu d id*:23 region*:25 note:25',
          'relation public.parts_us d id*:23 region*:25 note:25',
          'truncate parts_eu parts_us',
        ),
      ]);
    });

    test('partitions under the name of their root', () => {
      const lines = written(version, 'partitions', 'root').filter((line) => !line.startsWith('relation'));
      assert.deepEqual(lines, [
        ...transaction('insert parts ("1" "eu" "a")', 'insert parts ("2" "us" "b")'),
        ...transaction('update parts old - new ("1" "eu" "c")'),
        ...transaction('delete parts key ("1" "eu" null) old -', 'insert parts ("1" "us" "c")'),
        ...transaction('delete parts key ("2" "us" null) old -'),
        ...transaction('truncate parts'),
      ]);
    });

    test('generated columns are left out', () => {
      assert.deepEqual(written(version, 'generated columns'), [
        ...transaction('relation public.generated d id*:23 a:23', 'insert generated ("1" "21")'),
        ...transaction('update generated old - new ("1" "22")'),
      ]);
    });

    test('a table without columns', () => {
      assert.deepEqual(
        written(version, 'no columns'),
        transaction('relation public.no_columns d', 'insert no_columns ()'),
      );
    });

    test('a changed definition is a new relation, and earlier rows keep theirs', () => {
      const messages = messagesOf(version, 'leaf', 'changed definition');
      assert.deepEqual(
        messages.map(write),
        transaction(
          'relation public.evolving d id*:23',
          'insert evolving ("1")',
          'type public.mood',
          'relation public.evolving d id*:23 note:25 feeling:user',
          'insert evolving ("2" "two" "ok")',
          'type public.mood',
          'relation public.evolving d id*:23 feeling:user',
          'insert evolving ("3" "sad")',
        ),
      );
      const widths = messages.flatMap((message) =>
        message.kind === 'insert' ? [message.relation.columns.length] : [],
      );
      assert.deepEqual(widths, [1, 3, 2]);
    });

    test('a prepared transaction comes as an ordinary one', () => {
      assert.deepEqual(written(version, 'prepared transaction'), transaction('insert lonely ("4")'));
    });

    test('nothing that is decoded shares memory with the payload', () => {
      const decoder = new PgoutputDecoder();
      const shared = Buffer.alloc(64 * 1024);
      const kept = readPayloads(version, 'leaf').map((payload) => {
        payload.copy(shared);
        const message = decoder.decode(shared, 0, payload.length);
        shared.fill(0xff);
        return message;
      });
      assert.deepEqual(kept, decodeAll(readPayloads(version, 'leaf')));
    });
  });
}
