// Reads a file as its readers in JavaScript do, and prints NAME=VALUE and a NUL for each variable.
//
//   node read.js KIND FILE          node --env-file=FILE read.js environment
'use strict';

const fs = require('fs');
const kinds = {
  environment: () => process.env,
  parseEnv: (text) => require('util').parseEnv(text),
  dotenv: (text) => require('dotenv').parse(text),
  'js-yaml': (text) => require('js-yaml').load(text),
  yaml: (text) => require('yaml').parse(text),
};
const [kind, path] = process.argv.slice(2);
if (kind === 'has') {
  require(path);
} else if (kind === 'each') {
  // What node makes of each text of a list, as JSON.
  const texts = JSON.parse(fs.readFileSync(path, 'utf8'));
  process.stdout.write(JSON.stringify(texts.map((text) => kinds.parseEnv(text))));
} else {
  const found = kinds[kind](path && fs.readFileSync(path, 'utf8'));
  const pairs = Object.entries(found).map(([name, value]) => {
    if (typeof value !== 'string') throw new Error(`${name} is a ${typeof value}`);
    return `${name}=${value}\0`;
  });
  fs.writeSync(1, pairs.join(''));
}
