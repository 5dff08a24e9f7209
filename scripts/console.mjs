// Builds the web console into dist/console: one page, hashed assets, and a compressed copy of each beside it; and the same pages as
// a package of Cockpit into dist/cockpit.
import { cpSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'vite';
import { root } from './bootstrap.mjs';

/** Bundles the entry in a folder. */
const bundle = (folder, outDir) =>
  build({
    root: folder,
    configFile: false,
    logLevel: 'warn',
    // Wherever something stands in front of the daemon, the page finds its assets beside itself.
    base: './',
    publicDir: false,
    build: {
      outDir,
      emptyOutDir: true,
      target: 'es2022',
      // Everything is a file of its own: the content security policy allows no data: URLs for fonts and scripts.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
    },
  });

const console = join(root, 'core', 'console');
const outDir = join(root, 'dist', 'console');
const cockpit = join(root, 'dist', 'cockpit');
await bundle(console, outDir);
await bundle(join(console, 'cockpit'), cockpit);
for (const name of ['manifest.json', 'settings.json'])
  cpSync(join(root, 'manifests', 'cockpit', name), join(cockpit, name));
// What is bundled keeps its licenses.
const bundled = ['@cds/city', '@cds/core', '@lit/reactive-element', 'lit', 'lit-element', 'lit-html'].map((name) => {
  const folder = join(root, 'node_modules', name);
  const { version, license, homepage = '' } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const text = join(folder, 'LICENSE');
  const terms = existsSync(text) ? readFileSync(text, 'utf8').trim() : `${license}; ${homepage}`;
  return `${name} ${version}\n\n${terms}\n`;
});
for (const each of [outDir, cockpit])
  writeFileSync(join(each, 'licenses.txt'), bundled.join(`\n${'-'.repeat(72)}\n\n`));
for (const entry of readdirSync(outDir, { recursive: true, withFileTypes: true })) {
  // Fonts of this format are compressed already.
  if (!entry.isFile() || entry.name.endsWith('.woff2')) continue;
  const name = join(entry.parentPath ?? entry.path, entry.name);
  const content = readFileSync(name);
  writeFileSync(`${name}.br`, brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
  writeFileSync(`${name}.gz`, gzipSync(content, { level: 9 }));
}
