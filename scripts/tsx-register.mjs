// Lets a worker thread of Node 20 run TypeScript; its parent's loader does not reach it.
import { register } from 'tsx/esm/api';

register();
