// Network namespaces on one bridge, each of which can be cut off like a pulled cable: nothing answers, nothing is refused.
import { execFileSync } from 'node:child_process';
import process from 'node:process';
import { atExit } from './cleanup.ts';

export interface Place {
  readonly host: string;
  /** Words before a command that runs there. */
  readonly wrapper: readonly string[];
}

/** A virtual machine on the switch. */
export interface MachinePlace extends Place {
  /** Argument of QEMU's -netdev. */
  readonly netdev: string;
}

export interface Switch {
  readonly places: readonly Place[];
  /** Plugs in one virtual machine: QEMU runs with these words before it, and the machine gives itself the address (of 24 bits). */
  addMachine(): MachinePlace;
  /** Pulls the cable of a place, or of this process ('self'); or plugs it in. */
  cut(which: number | 'self'): void;
  heal(which: number | 'self'): void;
  /** These places no longer reach each other, or do again; everybody else reaches all of them. */
  separate(...places: number[]): void;
  reunite(...places: number[]): void;
  close(): void;
}

const ip = (...args: string[]): void => {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 10_000 });
};

/** True when this process may make namespaces. */
export const mayMakeNamespaces = (): boolean => process.getuid?.() === 0;

/** A switch with `count` namespaces and this process on it. Root only. */
export function openSwitch(count: number): Switch {
  const id = process.pid % 65_536;
  const net = `10.${200 + (id % 50)}.${Math.floor(id / 50) % 250}`;
  const name = (what: string): string => `g${id.toString(36)}${what}`;
  const places = Array.from({ length: count }, (_, i): Place => {
    return { host: `${net}.${i + 1}`, wrapper: ['ip', 'netns', 'exec', name(String(i))] };
  });
  const hub = name('h');
  const port = (which: number | 'self'): string => name(`p${which === 'self' ? 's' : which}`);
  const close = (): void => {
    for (const each of [hub, ...places.map((_, i) => name(String(i)))]) {
      try {
        ip('netns', 'del', each);
      } catch {
        // It was not made.
      }
    }
  };
  const forget = atExit(close);
  const set = (which: number | 'self', state: 'up' | 'down'): void => {
    ip('-n', hub, 'link', 'set', port(which), state);
  };
  // Isolated ports of a bridge reach only those that are not.
  const isolate = (which: number, state: 'on' | 'off'): void => {
    ip('-n', hub, 'link', 'set', port(which), 'type', 'bridge_slave', 'isolated', state);
  };
  ip('netns', 'add', hub);
  ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge');
  ip('-n', hub, 'link', 'set', 'br0', 'up');
  const plug = (which: number | 'self', host: string, inside: readonly string[]): void => {
    const veth = name(`v${which === 'self' ? 's' : which}`);
    ip('link', 'add', veth, 'type', 'veth', 'peer', 'name', port(which), 'netns', hub);
    ip('-n', hub, 'link', 'set', port(which), 'master', 'br0', 'up');
    const [, , space] = inside;
    if (space !== undefined) ip('link', 'set', veth, 'netns', space);
    const at = space === undefined ? [] : ['-n', space];
    ip(...at, 'addr', 'add', `${host}/24`, 'dev', veth);
    ip(...at, 'link', 'set', veth, 'up');
    if (space !== undefined) ip(...at, 'link', 'set', 'lo', 'up');
  };
  try {
    places.forEach(({ host }, i) => {
      ip('netns', 'add', name(String(i)));
      plug(i, host, ['', '', name(String(i))]);
    });
    plug('self', `${net}.254`, []);
  } catch (error) {
    forget();
    close();
    throw error;
  }
  return {
    places,
    addMachine: () => {
      const tap = name('t');
      ip('-n', hub, 'tuntap', 'add', 'dev', tap, 'mode', 'tap');
      ip('-n', hub, 'link', 'set', tap, 'master', 'br0', 'up');
      const netdev = `tap,id=net0,ifname=${tap},script=no,downscript=no`;
      return { host: `${net}.253`, wrapper: ['ip', 'netns', 'exec', hub], netdev };
    },
    cut: (which) => {
      set(which, 'down');
    },
    heal: (which) => {
      set(which, 'up');
    },
    separate: (...which) => {
      for (const each of which) isolate(each, 'on');
    },
    reunite: (...which) => {
      for (const each of which) isolate(each, 'off');
    },
    close: () => {
      forget();
      close();
    },
  };
}
