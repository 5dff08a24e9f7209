// The icons the console uses, and the elements of Clarity that it is made of.
import '@cds/core/badge/register.js';
import '@cds/core/button/register.js';
import '@cds/core/checkbox/register.js';
import '@cds/core/icon/register.js';
import '@cds/core/input/register.js';
import '@cds/core/password/register.js';
import '@cds/core/progress-circle/register.js';
import '@cds/core/textarea/register.js';
import { ClarityIcons } from '@cds/core/icon/icon.service.js';
import { angleIcon } from '@cds/core/icon/shapes/angle.js';
import { arrowIcon } from '@cds/core/icon/shapes/arrow.js';
import { bellIcon } from '@cds/core/icon/shapes/bell.js';
import { calendarIcon } from '@cds/core/icon/shapes/calendar.js';
import { clusterIcon } from '@cds/core/icon/shapes/cluster.js';
import { cogIcon } from '@cds/core/icon/shapes/cog.js';
import { connectIcon } from '@cds/core/icon/shapes/connect.js';
import { copyToClipboardIcon } from '@cds/core/icon/shapes/copy-to-clipboard.js';
import { dashboardIcon } from '@cds/core/icon/shapes/dashboard.js';
import { downloadIcon } from '@cds/core/icon/shapes/download.js';
import { errorStandardIcon } from '@cds/core/icon/shapes/error-standard.js';
import { hardDriveDisksIcon } from '@cds/core/icon/shapes/hard-drive-disks.js';
import { hardDriveIcon } from '@cds/core/icon/shapes/hard-drive.js';
import { hostIcon } from '@cds/core/icon/shapes/host.js';
import { infoStandardIcon } from '@cds/core/icon/shapes/info-standard.js';
import { logoutIcon } from '@cds/core/icon/shapes/logout.js';
import { moonIcon } from '@cds/core/icon/shapes/moon.js';
import { plusIcon } from '@cds/core/icon/shapes/plus.js';
import { refreshIcon } from '@cds/core/icon/shapes/refresh.js';
import { searchIcon } from '@cds/core/icon/shapes/search.js';
import { successStandardIcon } from '@cds/core/icon/shapes/success-standard.js';
import { sunIcon } from '@cds/core/icon/shapes/sun.js';
import { syncIcon } from '@cds/core/icon/shapes/sync.js';
import { tasksIcon } from '@cds/core/icon/shapes/tasks.js';
import { timesIcon } from '@cds/core/icon/shapes/times.js';
import { userIcon } from '@cds/core/icon/shapes/user.js';
import { warningStandardIcon } from '@cds/core/icon/shapes/warning-standard.js';

ClarityIcons.addIcons(
  ...[
    angleIcon,
    arrowIcon,
    bellIcon,
    calendarIcon,
    clusterIcon,
    cogIcon,
    connectIcon,
    copyToClipboardIcon,
    dashboardIcon,
  ],
  ...[downloadIcon, errorStandardIcon, hardDriveDisksIcon, hardDriveIcon, hostIcon, infoStandardIcon, logoutIcon],
  ...[moonIcon, plusIcon, refreshIcon, searchIcon, successStandardIcon, sunIcon, syncIcon, tasksIcon, timesIcon],
  ...[userIcon, warningStandardIcon],
);
