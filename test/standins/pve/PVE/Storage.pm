package PVE::Storage;

# Stands in for PVE::Storage: its version of the storage API, and its rules for taking a plugin of a third party.

use strict;
use warnings;

use constant APIVER => $ENV{PVE_APIVER} // 15;
use constant APIAGE => 6;

sub load_plugin {
    my ($module) = @_;

    (my $file = "$module.pm") =~ s!::!/!g;
    require $file;
    die "not derived from PVE::Storage::Plugin\n" if !$module->isa('PVE::Storage::Plugin');
    die "does not provide an api() method\n" if !$module->can('api');
    my $version = $module->api();
    die "newer than this Proxmox ($version)\n" if $version > APIVER;
    die "older than this Proxmox takes ($version)\n" if $version < APIVER - APIAGE;
    return $version;
}

1;
