// The primary commands: one row per command, one file per family.
import type { CommandSpec } from '../command-spec.ts';
import { DIAGNOSTIC } from './diagnostic.ts';
import { INQUIRY } from './inquiry.ts';
import { LOG_SENSE } from './log-sense.ts';
import { MODE_SELECT } from './mode-select.ts';
import { MODE_SENSE } from './mode-sense.ts';
import { READINESS } from './readiness.ts';
import { REPORT_LUNS } from './report-luns.ts';
import { REPORT_OPCODES } from './report-opcodes.ts';
import { REPORT_TARGET_PORT_GROUPS } from './report-target-port-groups.ts';
import { REQUEST_SENSE } from './request-sense.ts';

export const SPC_COMMANDS: readonly CommandSpec[] = [
  ...READINESS,
  ...REQUEST_SENSE,
  ...INQUIRY,
  ...MODE_SELECT,
  ...MODE_SENSE,
  ...DIAGNOSTIC,
  ...LOG_SENSE,
  ...REPORT_LUNS,
  ...REPORT_TARGET_PORT_GROUPS,
  ...REPORT_OPCODES,
];
