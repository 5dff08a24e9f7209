import { createTransport } from 'nodemailer';
import { ALERT_TIMEOUT } from '../../base/limits.ts';
import { messageOf } from '../../base/errors.ts';
import { DeliveryError, headline, oneLine } from './notification.ts';
import type { Sender } from './notification.ts';
import type { EmailSettings } from './records.ts';

/** By SMTP (RFC 5321). With `starttls` a server that does not offer it gets nothing: neither the text nor the password. */
export function emailSender(settings: EmailSettings, secret: string | undefined): Sender {
  const { host, port, security, user, from, to, ca } = settings;
  const transport = createTransport({
    host,
    port,
    secure: security === 'tls',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'none',
    ...(user !== undefined && secret !== undefined ? { auth: { user, pass: secret } } : {}),
    tls: { minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) },
    connectionTimeout: ALERT_TIMEOUT,
    greetingTimeout: ALERT_TIMEOUT,
    socketTimeout: ALERT_TIMEOUT,
    // Nothing in a message is ever a path or an address to fetch.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return async (notification) => {
    const { id, text, code, object, time, severity, state, node } = notification;
    const lines = [
      oneLine(text),
      '',
      `What:    ${code} (${severity}, ${state})`,
      ...(object === undefined ? [] : [`Object:  ${object.kind} ${oneLine(object.name)}`]),
      `When:    ${new Date(time).toISOString()}`,
      `Node:    ${node}`,
      '',
      'gemel alert list shows what is wrong now.',
    ];
    try {
      await transport.sendMail({
        from,
        to: [...to],
        subject: headline(notification),
        text: lines.join('\n'),
        messageId: `<${id}@gemel.${node}>`,
        headers: { 'Auto-Submitted': 'auto-generated', 'X-Gemel-Code': code },
      });
    } catch (error) {
      // 5yz is for good (RFC 5321 §4.2.1).
      const answer = error instanceof Error && 'responseCode' in error ? Number(error.responseCode) : 0;
      throw new DeliveryError(messageOf(error), answer >= 500 && answer < 600);
    } finally {
      transport.close();
    }
  };
}
