// The token commands as tests have them: RODs in memory, numbers that are not random, everybody may use every token.
import { odxCommands } from '../../odx/index.ts';
import type { Standing } from '../../odx/context.ts';
import { TokenSeal } from '../../odx/token.ts';
import { MemoryRods } from './memory-rods.ts';

/** The key of the node, and its random bytes: 5Ah. */
export const NODE_KEY = Buffer.alloc(32, 0x4b);
export const testRods = new MemoryRods();
export const odxFacts: { standing: Standing; counter: number } = { standing: 'may-read', counter: 0 };

/** As if nothing had happened. */
export function resetOdx(): void {
  testRods.clear();
  odxFacts.standing = 'may-read';
  odxFacts.counter = 0;
}

const random = {
  bytes: (length: number): Buffer => {
    const bytes = Buffer.alloc(length, 0x5a);
    if (length === 16) bytes.writeUInt32BE(odxFacts.counter++, 12);
    return bytes;
  },
};

export const TEST_SEAL = new TokenSeal(NODE_KEY, random);
export const ODX_COMMANDS = odxCommands({
  seal: TEST_SEAL,
  sourceOf: ({ volume }) => testRods.of(volume),
  stores: () => [testRods],
  standing: () => odxFacts.standing,
});
