/** Tells what happens, and after how many seconds since this was called. */
export function narrator(): (text: string) => void {
  const started = Date.now();
  return (text) => {
    console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${text}`);
  };
}
