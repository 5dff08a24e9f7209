import './styles/main.css';
import './parts/icons.ts';
import { applyTheme } from './theme.ts';
import './app.ts';

applyTheme();
