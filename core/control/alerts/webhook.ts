import { createHmac } from 'node:crypto';
import { request } from 'node:https';
import { ALERT_TIMEOUT } from '../../base/limits.ts';
import { DeliveryError } from './notification.ts';
import type { Notification, Sender } from './notification.ts';
import type { WebhookSettings } from './records.ts';

/**
 * POST of JSON over HTTPS. With a secret it is signed: `X-Gemel-Signature: sha256=HEX`, the HMAC of `TIMESTAMP.BODY`, where
 * the timestamp is in `X-Gemel-Timestamp` (seconds); who checks both is safe from replays. Redirects are not followed.
 */
export function webhookSender({ url, ca }: WebhookSettings, secret: string | undefined, wall: () => number): Sender {
  return (notification) =>
    new Promise((resolve, reject) => {
      const body = JSON.stringify(bodyOf(notification));
      const timestamp = String(Math.floor(wall() / 1000));
      const headers: Record<string, string> = {
        'Content-Type': 'application/json',
        'Content-Length': String(Buffer.byteLength(body)),
        'User-Agent': `gemel/${notification.version}`,
        'X-Gemel-Delivery': notification.id,
        'X-Gemel-Timestamp': timestamp,
      };
      if (secret !== undefined) headers['X-Gemel-Signature'] = `sha256=${signatureOf(secret, timestamp, body)}`;
      const options = { method: 'POST', headers, agent: false, minVersion: 'TLSv1.2' as const };
      const call = request(url, { ...options, ...(ca === undefined ? {} : { ca }) }, (response) => {
        const status = response.statusCode ?? 0;
        // What it says is not looked at, however long it is.
        response.destroy();
        if (status >= 200 && status < 300) resolve();
        else {
          const again = status >= 500 || status === 408 || status === 429;
          reject(new DeliveryError(`the receiver answered with status ${String(status)}`, !again));
        }
      });
      const timer = setTimeout(() => call.destroy(new Error('no answer in time')), ALERT_TIMEOUT);
      call.on('close', () => {
        clearTimeout(timer);
      });
      call.on('error', (error) => {
        reject(new DeliveryError(error.message, false));
      });
      call.end(body);
    });
}

/** Hexadecimal HMAC-SHA-256 of `timestamp.body`. */
function signatureOf(secret: string, timestamp: string, body: string): string {
  return createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
}

function bodyOf({ id, state, code, severity, object, text, time, node, version }: Notification): object {
  return { id, state, code, severity, object: object ?? null, text, time: new Date(time).toISOString(), node, version };
}
