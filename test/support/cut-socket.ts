// A unix socket in front of another one that goes dead when a certain call of libvirt's RPC comes: whoever made it waits for ever.
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { Framer, MessageType } from '../../plugins/kvm/rpc/frame.ts';

export interface CutSocket {
  /** Resolves when the call has come; nothing of it was passed on. */
  readonly cut: Promise<void>;
  readonly end: () => void;
}

/** `procedure`: number of the call. Resolves when it listens on `path`. */
export async function cutSocket(path: string, to: string, procedure: number): Promise<CutSocket> {
  let tell = (): void => undefined;
  const cut = new Promise<void>((resolve) => (tell = resolve));
  const ends: (() => void)[] = [];
  const server = createServer((client) => {
    const far = connect(to);
    const framer = new Framer();
    let dead = false;
    for (const socket of [client, far]) socket.on('error', () => undefined);
    client.on('data', (bytes: Buffer) => {
      dead ||= framer.push(bytes).some((frame) => frame.type === MessageType.call && frame.procedure === procedure);
      if (dead) tell();
      else far.write(bytes);
    });
    far.pipe(client);
    client.on('close', () => far.destroy());
    ends.push(() => client.destroy());
  });
  server.listen(path);
  await once(server, 'listening');
  return {
    cut,
    end: () => {
      for (const each of ends) each();
      server.close();
    },
  };
}
