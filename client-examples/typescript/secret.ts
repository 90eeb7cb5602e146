// Reads secrets from sidekey: node secret.js VAULT/NAME|NAME…, or without arguments one for each line of stdin.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { buffer } from 'node:stream/consumers';

const { SIDEKEY_ADDR = '/run/sidekey/sidekey.sock', SIDEKEY_TIMEOUT = '20', SIDEKEY_TOKEN_FILE } = process.env;
const EXIT_CODES = new Map([[400, 64], [401, 77], [403, 77], [404, 1], [409, 1], [410, 77], [502, 77]]);

/** What sidekey answered in the place of a value: a problem in JSON; a 409's has "candidates" to choose from. */
export class SecretError extends Error {
  constructor(readonly status: number, readonly problem: string) {
    super(`${status} ${problem}`);
  }
}

/** The value as it is now. Call it at each use: that picks up a rotated one, and a held one costs no network. */
export async function secret(reference: string): Promise<Buffer> {
  const [name, vault] = reference.split('/', 2).reverse().map(encodeURIComponent);
  const path = vault === undefined ? `/v1/secrets/${name}` : `/v1/vaults/${vault}/secrets/${name}`;
  const headers: http.OutgoingHttpHeaders = {};
  if (SIDEKEY_TOKEN_FILE) headers.authorization = `Bearer ${(await readFile(SIDEKEY_TOKEN_FILE, 'utf8')).trim()}`;
  const signal = AbortSignal.timeout(Number(SIDEKEY_TIMEOUT) * 1000);
  const request = SIDEKEY_ADDR.startsWith('http://')
    ? http.get(new URL(path, SIDEKEY_ADDR), { headers, signal })
    : http.get({ socketPath: SIDEKEY_ADDR, path, headers: { ...headers, host: 'sidekey' }, signal });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  const body = await buffer(response);
  if (response.statusCode !== 200) throw new SecretError(response.statusCode ?? 0, body.toString());
  return body;
}

const references = process.argv.slice(2);
try {
  for await (const line of references.length ? references : createInterface(process.stdin)) {
    process.stdout.write(await secret(line));
  }
} catch (error) {
  console.error('sidekey:', error instanceof SecretError ? error.message : `no answer from ${SIDEKEY_ADDR}: ${error}`);
  process.exitCode = error instanceof SecretError ? (EXIT_CODES.get(error.status) ?? 69) : 69;
}
