import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { crc32c, renewSystemIdentifier } from './control-file.ts';

test('crc32c gives the published check value', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
});

test('the identifier changes in both places and the checksum follows', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'syncline-test-'));
  try {
    await mkdir(join(folder, 'global'));
    await mkdir(join(folder, 'pg_wal', 'archive_status'), { recursive: true });
    const control = Buffer.alloc(512);
    control.write('fields of the control file', 8);
    control.writeUInt32LE(crc32c(control.subarray(0, 288)), 288);
    const segmentPath = join(folder, 'pg_wal', '000000010000000000000001');
    await writeFile(join(folder, 'global', 'pg_control'), control);
    await writeFile(segmentPath, Buffer.alloc(64, 7));

    await renewSystemIdentifier(folder);

    const renewed = await readFile(join(folder, 'global', 'pg_control'));
    const segment = await readFile(segmentPath);
    assert.notDeepEqual(renewed.subarray(0, 8), control.subarray(0, 8));
    assert.deepEqual(renewed.subarray(8, 288), control.subarray(8, 288));
    assert.equal(renewed.readUInt32LE(288), crc32c(renewed.subarray(0, 288)));
    assert.deepEqual(segment.subarray(24, 32), renewed.subarray(0, 8));
    assert.deepEqual(segment.subarray(32), Buffer.alloc(32, 7));
  } finally {
    await rm(folder, { recursive: true });
  }
});
