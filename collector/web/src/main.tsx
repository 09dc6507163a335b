import { render } from 'preact';
import { App } from './app/App';
import { show } from './app/theme';
import 'uplot/dist/uPlot.min.css';
import './styles/base.css';
import './styles/frame.css';
import './styles/map.css';
import './styles/parts.css';
import './styles/charts.css';
import './styles/forms.css';

show();
const page = document.getElementById('page');
if (page) render(<App />, page);
