package PVE::Storage::Plugin;

# Stands in for PVE::Storage::Plugin: what the plugin inherits and the tests use.

use strict;
use warnings;

# The properties other plugins have defined: one of the same name would keep Proxmox from starting.
our %elsewhere = map { $_ => 1 } qw(type storage nodes content disable maxfiles prune-backups max-protected-backups shared subdir
    format preallocation content-dirs options port server server2 portal target pool username password fingerprint namespace
    datastore path mkdir blocksize sparse vgname base saferemove thinpool krbd monhost keyring bwlimit authsupported);

sub find_free_diskname {
    my ($class, $storeid, $scfg, $vmid, $fmt) = @_;

    my %taken = map { $_->{volid} =~ m/(?:vm|base)-\Q$vmid\E-disk-(\d+)/ ? ($1 => 1) : () }
        @{ $class->list_images($storeid, $scfg, $vmid) };
    for my $number (0 .. 1023) {
        return "vm-$vmid-disk-$number" if !$taken{$number};
    }
    die "no name is left\n";
}

1;
