# SPDX-License-Identifier: MIT OR Apache-2.0
package Gemel::PVE::Host;

# What is done on the Proxmox host itself: log in and out with the kernel's initiator, wait for the device, multipath.

use strict;
use warnings;

use PVE::Tools qw(run_command);

use constant ISCSIADM => '/usr/bin/iscsiadm';
use constant MULTIPATH => '/sbin/multipath';
our $INITIATOR_FILE = '/etc/iscsi/initiatorname.iscsi';
# Where open-iscsi keeps what it knows of targets: Debian 12 and before, Debian 13.
our @NODE_FOLDERS = ('/etc/iscsi/nodes', '/var/lib/iscsi/nodes');
our $BY_ID = '/dev/disk/by-id';
# Seconds until a device has to be there after a login, and for a command of open-iscsi or multipath.
our $DEVICE_PATIENCE = 30;
use constant COMMAND_PATIENCE => 60;
# iscsiadm's exit statuses (man iscsiadm): the session exists; no such session or record.
use constant ISCSI_EXISTS => 15;
use constant ISCSI_NONE => 21;

# The iSCSI name of this host. Dies when there is none.
sub initiator_name {
    my $file = $INITIATOR_FILE;
    open(my $fh, '<', $file) or die "cannot read the iSCSI name of this host from $file (is open-iscsi installed?): $!\n";
    while (my $line = <$fh>) {
        # Untainted: an iSCSI name has no character that means anything to a shell (RFC 3722).
        return $1 if $line =~ m/^\s*InitiatorName\s*=\s*((?:iqn|eui|naa)\.[a-z0-9:.\-]+)\s*$/i;
    }
    die "$file names no InitiatorName\n";
}

# The path of a device by its NAA name (16 bytes as hexadecimal digits). With multipath it is the map, never one path of it.
sub device_path {
    my ($naa, $multipath) = @_;

    return $multipath ? "$BY_ID/dm-uuid-mpath-3$naa" : "$BY_ID/wwn-0x$naa";
}

# Logs in to `target` {iqn, portals, naa} over all portals and waits for the device. `chap` is {user, secret} or undef.
# One portal that answers is enough: the others may be of a node that is down, and are tried again at the next activation.
sub attach {
    my ($target, $multipath, $chap) = @_;

    # Multipath has to know the name before the first path is there, or something else may take that path first.
    _run([MULTIPATH, '-a', "3$target->{naa}"], quiet => 1) if $multipath;

    my ($in, @trouble) = (0);
    for my $portal (@{ $target->{portals} }) {
        my @node = (ISCSIADM, '-m', 'node', '-T', $target->{iqn}, '-p', $portal);
        my $done = eval {
            _run([@node, '-o', 'new'], quiet => 1);
            # A path that is gone has to fail to multipath within seconds; without multipath commands wait for it.
            my $patience = $multipath ? 15 : 120;
            _set(\@node, 'node.session.timeo.replacement_timeout', $patience);
            _set(\@node, 'node.conn[0].timeo.noop_out_interval', 5);
            _set(\@node, 'node.conn[0].timeo.noop_out_timeout', 5);
            # This plugin logs in when a volume is used; nothing else should.
            _set(\@node, 'node.startup', 'manual');
            _write_chap($target->{iqn}, $portal, $chap) if $chap;
            my $code = _run([@node, '--login'], noerr => 1);
            die "iscsiadm ended with $code\n" if $code != 0 && $code != ISCSI_EXISTS;
            1;
        };
        $done ? $in++ : push(@trouble, "$portal: $@");
    }
    die "cannot log in to $target->{iqn}: " . join('; ', @trouble) if !$in;
    warn "no path to $target->{iqn} over " . join('; ', @trouble) if @trouble;

    my $path = device_path($target->{naa}, $multipath);
    for (my $waited = 0; !-e $path; $waited++) {
        die "logged in to $target->{iqn}, but $path did not come within $DEVICE_PATIENCE s"
            . ($multipath ? "; is multipathd running (apt install multipath-tools)?\n" : "\n")
            if $waited >= $DEVICE_PATIENCE;
        _run(['/usr/bin/udevadm', 'settle', '--timeout=1', "--exit-if-exists=$path"], noerr => 1, quiet => 1);
        sleep(1) if !-e $path;
    }
    return $path;
}

# Ends the use of a target on this host. Not being logged in is no error.
sub detach {
    my ($target, $multipath) = @_;

    my $path = device_path($target->{naa}, $multipath);
    if ($multipath && -e $path) {
        my $code = _run([MULTIPATH, '-f', "3$target->{naa}"], noerr => 1);
        die "the multipath device $path is still in use on this host\n" if $code != 0;
    }
    my @node = (ISCSIADM, '-m', 'node', '-T', $target->{iqn});
    my $code = _run([@node, '--logout'], noerr => 1, quiet => 1);
    die "cannot log out of $target->{iqn}: iscsiadm ended with $code\n" if $code != 0 && $code != ISCSI_NONE;
    _run([@node, '-o', 'delete'], noerr => 1, quiet => 1);
    _run([MULTIPATH, '-w', "3$target->{naa}"], noerr => 1, quiet => 1) if $multipath;
    return;
}

# Makes the host see another size of a device it is logged in to.
sub resized {
    my ($target, $multipath) = @_;

    _run([ISCSIADM, '-m', 'node', '-T', $target->{iqn}, '--rescan'], quiet => 1);
    _run(['/sbin/multipathd', 'resize', 'map', "3$target->{naa}"]) if $multipath;
    return;
}

# Whether this host is logged in to a target.
sub attached {
    my ($target) = @_;

    my $found = 0;
    my $look = sub { $found = 1 if $_[0] =~ m/\s\Q$target->{iqn}\E(\s|$)/ };
    run_command([ISCSIADM, '-m', 'session'], outfunc => $look, errfunc => sub { }, noerr => 1, timeout => COMMAND_PATIENCE);
    return $found;
}

sub _set {
    my ($node, $name, $value) = @_;
    _run([@$node, '-o', 'update', '-n', $name, '-v', $value], quiet => 1);
    return;
}

# CHAP goes into open-iscsi's own record (root only): as an argument of iscsiadm every user of the host could read it.
sub _write_chap {
    my ($iqn, $portal, $chap) = @_;

    my ($host, $port) = $portal =~ m/^\[?([0-9a-fA-F.:]+?)\]?:(\d+)$/ or die "portal $portal is no address\n";
    my @records = grep { -f $_ } map { glob("$_/$iqn/$host,$port,*/default"), glob("$_/$iqn/$host,$port*") } @NODE_FOLDERS;
    die "open-iscsi has no record of $iqn at $portal\n" if !@records;
    my %settings = (
        'node.session.auth.authmethod' => 'CHAP',
        'node.session.auth.username' => $chap->{user},
        'node.session.auth.password' => $chap->{secret},
    );
    for my $record (@records) {
        open(my $in, '<', $record) or die "cannot read $record: $!\n";
        my @lines = grep { m/^\s*([\w.\[\]]+)\s*=/ ? !exists($settings{$1}) : 1 } <$in>;
        close($in);
        my $end = (grep { $lines[$_] =~ m/^# END RECORD/ } 0 .. $#lines)[0] // scalar(@lines);
        splice(@lines, $end, 0, map { "$_ = $settings{$_}\n" } sort keys %settings);
        my $old = umask(0077);
        open(my $out, '>', "$record.gemel") or die "cannot write $record.gemel: $!\n";
        umask($old);
        print {$out} @lines;
        close($out) or die "cannot write $record.gemel: $!\n";
        rename("$record.gemel", $record) or die "cannot write $record: $!\n";
    }
    return;
}

# Runs a command with a limit of time. With noerr: its exit status is the result; else it has to succeed.
sub _run {
    my ($command, %how) = @_;

    my @silent = $how{quiet} ? (outfunc => sub { }, errfunc => sub { }) : ();
    return run_command($command, timeout => COMMAND_PATIENCE, noerr => $how{noerr} // 0, @silent);
}

1;
