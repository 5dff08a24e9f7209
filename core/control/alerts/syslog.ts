// RFC 5424 messages over UDP (RFC 5426), TCP (RFC 6587, octet counting) or TLS (RFC 5425).
import { createSocket } from 'node:dgram';
import { connect as connectTcp, isIPv6 } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { hostname } from 'node:os';
import { ALERT_TIMEOUT, MAX_SYSLOG_DATAGRAM } from '../../base/limits.ts';
import type { Severity } from '../events.ts';
import { DeliveryError, oneLine } from './notification.ts';
import type { Notification, Sender } from './notification.ts';
import type { SyslogSettings } from './records.ts';

/** System daemons (RFC 5424 §6.2.1, table 1). */
const FACILITY = 3;
/** Table 2: notice, warning, error, critical. */
const LEVEL: Readonly<Record<Severity, number>> = { info: 5, warning: 4, error: 3, critical: 2 };

/** One message. */
export function syslogMessage(notification: Notification, host: string): string {
  const { state, code, severity, object, text, time, node, version } = notification;
  const level = state === 'cleared' || state === 'test' ? LEVEL.info : LEVEL[severity];
  const priority = FACILITY * 8 + level;
  // §6.3.3: in values the quote, the backslash and the bracket are escaped.
  const value = (each: string): string => oneLine(each).replaceAll(/["\\\]]/g, '\\$&');
  const origin = `[origin software="gemel" swVersion="${value(version)}"]`;
  const about = object === undefined ? '' : ` kind="${value(object.kind)}" object="${value(object.name)}"`;
  // Without an enterprise number of our own: 32473 is the one for examples (RFC 5612).
  const data = `${origin}[alert@32473 state="${state}" severity="${severity}" node="${value(node)}"${about}]`;
  const name = host.replaceAll(/[^\x21-\x7e]/g, '').slice(0, 255) || '-';
  const header = `<${String(priority)}>1 ${new Date(time).toISOString()} ${name} gemeld ${String(process.pid)} ${code.slice(0, 32)}`;
  return `${header} ${data} \ufeff${oneLine(text)}`;
}

export function syslogSender(settings: SyslogSettings): Sender {
  return async (notification) => {
    const message = Buffer.from(syslogMessage(notification, hostname()));
    try {
      if (settings.protocol === 'udp') await sendDatagram(settings, message.subarray(0, MAX_SYSLOG_DATAGRAM));
      else await sendStream(settings, Buffer.concat([Buffer.from(`${String(message.length)} `), message]));
    } catch (error) {
      throw new DeliveryError(error instanceof Error ? error.message : String(error), false);
    }
  };
}

function sendDatagram({ host, port }: SyslogSettings, message: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    socket.on('error', reject);
    socket.send(message, port, host, (error) => {
      socket.close();
      if (error === null) resolve();
      else reject(error);
    });
  });
}

/** A connection for each message: there are few, and one that has been idle for hours may be dead without anybody knowing. */
function sendStream({ host, port, protocol, ca }: SyslogSettings, message: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { host, port, minVersion: 'TLSv1.2' as const, ...(isIPv6(host) ? {} : { servername: host }) };
    const socket: Socket =
      protocol === 'tls' ? connectTls({ ...options, ...(ca === undefined ? {} : { ca }) }) : connectTcp({ host, port });
    const timer = setTimeout(() => socket.destroy(new Error('no connection in time')), ALERT_TIMEOUT);
    socket.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.resume();
    socket.once(protocol === 'tls' ? 'secureConnect' : 'connect', () => socket.end(message));
  });
}
