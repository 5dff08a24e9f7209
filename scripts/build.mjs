// `npm run build`: packages and compilation, nothing else.
import { prepare } from './bootstrap.mjs';

await prepare();
