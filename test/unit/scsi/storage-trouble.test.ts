import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { STORAGE_TROUBLE_INTERVAL } from '../../../core/base/limits.ts';
import { silentLog } from '../../../core/base/log.ts';
import type { LogFields } from '../../../core/base/log.ts';
import { StorageTrouble } from '../../../core/scsi/storage-trouble.ts';
import { VolumeError, VolumeFault } from '../../../core/volume/volume.ts';
import { stoppedClock } from '../../support/scsi-fixture.ts';

describe('trouble with the storage', () => {
  it('is told once per kind, and again after a while with what came meanwhile', () => {
    let now = 0;
    const lines: [string, LogFields, string][] = [];
    const log = {
      ...silentLog,
      warn: (fields: LogFields, message: string) => void lines.push(['warn', fields, message]),
      error: (fields: LogFields, message: string) => void lines.push(['error', fields, message]),
    };
    const trouble = new StorageTrouble({ ...stoppedClock, now: () => now }, log);
    const cause = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const full = new VolumeError(VolumeFault.noSpace, 'no-space', 0, { cause });
    for (let i = 0; i < 1000; i++) trouble.report(full, 'WRITE (10)');
    trouble.report(new VolumeError(VolumeFault.readError, 'bad sector'));
    trouble.report(new VolumeError(VolumeFault.readOnly, 'read-only'));
    trouble.report(new VolumeError(VolumeFault.notReady, 'closed'));
    assert.deepEqual(
      lines.map(([level, { command, more }]) => [level, command, more]),
      [
        ['warn', 'WRITE (10)', undefined],
        ['error', undefined, undefined],
      ],
    );
    assert.match(lines[0]?.[2] ?? '', /no space left/);
    assert.match(String(lines[0]?.[1]['error']), /ENOSPC/);
    now = STORAGE_TROUBLE_INTERVAL;
    trouble.report(full);
    assert.deepEqual([lines.length, lines[2]?.[1]['more']], [3, 999]);
    trouble.report(new TypeError('undefined is not a function'));
    assert.match(lines[3]?.[2] ?? '', /defect/);
  });
});
