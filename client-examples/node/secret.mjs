#!/usr/bin/env node
// Reads secrets from sidekey: secret.mjs VAULT/NAME|NAME…, or without arguments one for each line of stdin.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { buffer } from 'node:stream/consumers';

const { SIDEKEY_ADDR = '/run/sidekey/sidekey.sock', SIDEKEY_TIMEOUT = '20', SIDEKEY_TOKEN_FILE } = process.env;
const EXIT_CODES = { 400: 64, 401: 77, 403: 77, 404: 1, 409: 1, 410: 77, 502: 77 }; // else 69: unavailable

/** The value as it is now. Call it at each use: that picks up a rotated one, and a held one costs no network. */
export async function secret(reference) {
  const [name, vault] = reference.split('/', 2).reverse().map(encodeURIComponent);
  const path = vault === undefined ? `/v1/secrets/${name}` : `/v1/vaults/${vault}/secrets/${name}`;
  const tcp = SIDEKEY_ADDR.startsWith('http://');
  const headers = {};
  if (SIDEKEY_TOKEN_FILE) headers.authorization = `Bearer ${(await readFile(SIDEKEY_TOKEN_FILE, 'utf8')).trim()}`;
  const request = http.get(new URL(path, tcp ? SIDEKEY_ADDR : 'http://sidekey'), {
    socketPath: tcp ? undefined : SIDEKEY_ADDR,
    headers,
    signal: AbortSignal.timeout(SIDEKEY_TIMEOUT * 1000),
  });
  const [response] = await once(request, 'response');
  const body = await buffer(response);
  if (response.statusCode === 200) return body;
  // A problem in JSON; a 409's has "candidates" to choose from.
  throw Object.assign(new Error(`${response.statusCode} ${body}`), { exitCode: EXIT_CODES[response.statusCode] ?? 69 });
}

try {
  const references = process.argv.slice(2);
  for await (const line of references.length ? references : createInterface(process.stdin)) {
    process.stdout.write(await secret(line));
  }
} catch (error) {
  console.error('sidekey:', error.exitCode ? error.message : `no answer from ${SIDEKEY_ADDR}: ${error.message}`);
  process.exit(error.exitCode ?? 69);
}
