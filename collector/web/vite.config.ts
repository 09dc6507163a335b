import { defineConfig } from 'vite';

// The page is served below /ui/ by the collector that it is embedded in.
export default defineConfig({
  base: '/ui/',
  build: {
    outDir: process.env.WAYBILL_WEB_OUT ?? '../../target/web',
    emptyOutDir: true,
    target: 'es2022',
    // No polyfill, which would be an inline script.
    modulePreload: { polyfill: false },
    // Everything has an address of its own: nothing inline, which the content security policy forbids.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  worker: { format: 'es' },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
});
