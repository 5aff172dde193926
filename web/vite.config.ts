import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// `npm run dev` serves the sources and passes everything else to a running `laser up`.
const backend = process.env.LASER_URL ?? "http://127.0.0.1:8420";

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "~": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: { target: "es2024", cssTarget: ["chrome123", "firefox120", "safari17.5"], sourcemap: false, reportCompressedSize: false },
  server: { proxy: { "/api": backend, "/login": backend } },
});
