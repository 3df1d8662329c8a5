// Explains the first unexpected response of a run: the usual causes are the address and the site, not the origin.

import { MANIFEST, WRITE_MANIFEST } from './site.js';
import { baseUrl } from './settings.js';

/**
 * The usual cause of a response that is wrong or failed, and its remedy; '' if the response does not suggest one.
 * @param {{ status: number, error_code?: number }} response
 * @param {boolean} isWrong whether its verdict is `wrong`
 */
export function explain({ status, error_code: code = 0 }, isWrong) {
  // https://grafana.com/docs/k6/latest/javascript-api/error-codes/: 11xx is DNS, 121x a failed connection, 131x the certificate.
  if (code >= 1310 && code < 1320) return `The certificate of ${baseUrl} is not trusted: set SSL_CERT_FILE, or for a test K6_INSECURE_SKIP_TLS_VERIFY=true`;
  if ((code >= 1100 && code < 1200) || (code >= 1210 && code < 1220)) return `No server at ${baseUrl}: start \`cargo run\`, or set BASE_URL`;
  if (!isWrong) return '';
  if (status === 403) return `403: set BASE_URL to the distribution, which adds the secret, and API_URL to the API behind it`;
  return `The expected objects are those of ${MANIFEST}. If ${baseUrl} serves another site, ${WRITE_MANIFEST}`;
}
