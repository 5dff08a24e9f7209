// The certificate browsers are shown, exchanged while connections are open.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { listenApi } from '../../../core/api/listener.ts';
import { makeCertificate } from '../../../core/api/tls/certificate.ts';
import { ServedTls } from '../../../core/api/tls/served.ts';
import { API_NAME } from '../../../core/base/api-name.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLog } from '../control/fixture.ts';

const DAY = 86_400_000;

/** A certificate that signed itself, and its key. */
function pair(subject: string, notAfter = Date.now() + 90 * DAY): { cert: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const serial = Buffer.from([0x41, 1, 2, 3]);
  const validity = { notBefore: Date.now() - 30 * DAY, notAfter };
  const names = { subject, issuer: subject, hosts: ['localhost', 'storage.example'] };
  const cert = makeCertificate({ ...names, ...validity, serial, publicKey, issuerKey: privateKey });
  return { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

/** A connection that trusts `ca`. */
function open(port: number, ca: string, servername: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca, servername }, () => {
      resolve(socket);
    });
    socket.on('error', reject);
  });
}

const subjectOf = (socket: TLSSocket): string => [socket.getPeerCertificate().subject.CN ?? []].flat().join();

describe('the certificate of the API', () => {
  it('is the given one, exchanged when the files change, while our own clients keep to our own CA', async () => {
    const folder = temporaryFolder('served');
    const files = { cert: join(folder.path, 'cert.pem'), key: join(folder.path, 'key.pem') };
    const write = ({ cert, key }: { cert: string; key: string }): void => {
      writeFileSync(files.cert, cert);
      writeFileSync(files.key, key);
    };
    const logged: string[] = [];
    const clock = new ManualClock();
    clock.advance(Date.now());
    const world = { ...(await nodeWorld()), clock };
    const options = { world, log: recordingLog(logged), node: 'test', hosts: () => ['127.0.0.1'], files };
    // Nothing there yet: the disks come up, with a certificate of our own.
    const served = await ServedTls.open({ ...options, folder: join(folder.path, 'tls') });
    const listener = await listenApi('127.0.0.1', 0, served.own, () => undefined, served.shown);
    const exchanged: (() => void)[] = [];
    served.watch(() => {
      listener.show(served.own, served.shown);
      exchanged.splice(0).forEach((tell) => {
        tell();
      });
    });
    /** Lets the time of one look pass; resolves when another certificate is shown. */
    const look = async (): Promise<void> => {
      const done = new Promise<void>((resolve) => exchanged.push(resolve));
      await clock.during(done);
    };
    const sockets: TLSSocket[] = [];
    const subject = async (ca: string, servername: string): Promise<string> => {
      const socket = await open(listener.port, ca, servername);
      sockets.push(socket);
      return subjectOf(socket);
    };
    try {
      assert.match(served.view('').problem ?? '', /cert\.pem is not there/);
      assert.equal(served.view('').source, 'own-ca');
      const first = pair('first');
      write(first);
      await look();
      assert.equal(await subject(first.cert, 'storage.example'), 'first');
      assert.equal(await subject(served.own.ca, API_NAME), 'Gemel test');
      const { source, names, problem, covers, notAfter } = served.view('');
      assert.deepEqual([source, problem, names.includes('storage.example')], ['given', undefined, true]);
      assert.ok(covers('storage.example') && !covers('evil.example') && !covers(''));
      assert.ok(notAfter > Date.now() + 89 * DAY);

      const second = pair('second');
      for (const bad of [
        { cert: second.cert, key: first.key },
        { cert: 'nonsense', key: 'nonsense' },
        pair('expired', Date.now() - DAY),
      ]) {
        write(bad);
        await served.reload();
        assert.match(served.view('').problem ?? '', /cannot be used/);
        assert.equal(await subject(first.cert, 'localhost'), 'first', 'it had a good one');
      }
      write(second);
      await look();
      assert.equal(served.view('').problem, undefined);
      assert.equal(await subject(second.cert, 'localhost'), 'second');
      assert.ok(
        sockets.every((socket) => !socket.destroyed),
        'open connections stay',
      );
      rmSync(files.cert);
      await served.reload();
      assert.equal(await subject(second.cert, 'localhost'), 'second');
      for (const text of logged) assert.ok(!text.includes('PRIVATE KEY'));
    } finally {
      for (const socket of sockets) socket.destroy();
      served.stop();
      await listener.close(100);
      folder.remove();
    }
  });
});
