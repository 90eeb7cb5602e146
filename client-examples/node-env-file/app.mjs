// An app like any other: it knows its environment and nothing of sidekey. In the place of work it tells what it was given.
const { DB_PASSWORD, SIGNING_KEY } = process.env;
process.stdout.write(`${DB_PASSWORD}|${SIGNING_KEY}`);
