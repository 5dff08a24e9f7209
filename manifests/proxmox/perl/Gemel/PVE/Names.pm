# SPDX-License-Identifier: MIT OR Apache-2.0
package Gemel::PVE::Names;

# What things of Proxmox are called in Gemel, and back.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);

# Characters of a name in Gemel.
use constant MAX_NAME => 63;
# The snapshot that makes a volume a template.
use constant BASE_SNAPSHOT => 'pve.template';
# What the names of snapshots begin with that Proxmox took; others are of schedules or people.
use constant OURS => 'pve-';

# What all volumes of a storage begin with.
sub prefix {
    my ($storeid, $scfg) = @_;
    return ($scfg->{'gemel-prefix'} // substr(lc($storeid) =~ s/[^a-z0-9-]/-/gr, 0, 20)) . '-';
}

# Letters that a name in Gemel cannot have become `.` and two hexadecimal digits; so does `.` itself.
sub encode { return $_[0] =~ s/([^a-z0-9-])/sprintf('.%02x', ord($1))/ger; }

sub decode { return $_[0] =~ s/\.([0-9a-f]{2})/chr(hex($1))/ger; }

# (name, guest, whether it is a template) of a disk. Dies when it is not the name of one.
sub parse {
    my ($volname) = @_;

    return ($1, $3, $2 eq 'base') if $volname =~ m/^((vm|base)-(\d+)-[A-Za-z0-9][A-Za-z0-9._+-]*)$/;
    die "'$volname' is not the name of a disk of a Gemel storage\n";
}

# The name of a disk in Gemel: a template keeps the one it had. Dies when it does not fit.
sub volume {
    my ($storeid, $scfg, $volname) = @_;

    my ($name) = parse($volname);
    $name =~ s/^base-/vm-/;
    my $volume = prefix($storeid, $scfg) . encode($name);
    die "the name of '$volname' is too long for Gemel ($volume)\n" if length($volume) > MAX_NAME;
    return $volume;
}

# The name of a disk from that of its volume, and its guest; nothing when the volume is no disk of this storage.
sub disk {
    my ($storeid, $scfg, $volume) = @_;

    my $start = prefix($storeid, $scfg);
    return if index($volume, $start) != 0;
    my $name = decode(substr($volume, length($start)));
    return $name =~ m/^vm-(\d+)-/ ? ($name, $1) : ();
}

sub snapshot {
    my ($snap) = @_;

    my $name = OURS . encode($snap);
    die "the name of snapshot '$snap' is too long for Gemel\n" if length($name) > MAX_NAME;
    return $name;
}

# What Proxmox calls a snapshot; undef when it did not take it.
sub snapshot_of {
    my ($name) = @_;

    my $start = OURS;
    return $name =~ s/^\Q$start\E// ? decode($name) : undef;
}

# A snapshot is read through a clone that lives as long as it is active. Its name is never taken for a disk.
sub view {
    my ($storeid, $scfg, $volname, $snap) = @_;

    my $of = volume($storeid, $scfg, $volname) . '@' . $snap;
    return prefix($storeid, $scfg) . 'view-' . substr(sha256_hex($of), 0, 24);
}

# The volume through which a disk, or (with $snap) a snapshot of it, is read.
sub seen {
    my ($storeid, $scfg, $volname, $snap) = @_;
    return defined($snap) ? view($storeid, $scfg, $volname, $snap) : volume($storeid, $scfg, $volname);
}

1;
