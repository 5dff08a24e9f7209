import type { CommandSpec } from '../core/scsi/command-spec.ts';
import type { OdxContext } from './context.ts';
import { populateTokenSpec } from './populate-token.ts';
import { reportSpecs } from './reports.ts';
import { writeUsingTokenSpec } from './write-using-token.ts';

/** What Windows offloads (ODX). Every logical unit can be written to with a token; only some can make one. */
export const odxCommands = (context: OdxContext): readonly CommandSpec[] => [
  populateTokenSpec(context),
  writeUsingTokenSpec(context),
  ...reportSpecs(context),
];
