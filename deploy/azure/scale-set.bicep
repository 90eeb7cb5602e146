// A scale set whose machines have sidekey from their first boot, signed in by a managed identity: no secret in the image,
// in the template or on the disk.
//
//   az deployment group create --resource-group pay --template-file scale-set.bicep --parameters identityId=… clientId=… \
//     subnetId=… sshPublicKey="$(cat ~/.ssh/id_ed25519.pub)" packageUrl=https://… packageSha256=…
//
// The package is what `cargo deb` makes, at an address that the machines reach.

param name string = 'workers'
param location string = resourceGroup().location
param size string = 'Standard_D2s_v5'
param instances int = 2

@description('Of the identity: the outputs `id` and `clientId` of identity.bicep.')
param identityId string
param clientId string

param subnetId string
param sshPublicKey string
param packageUrl string
param packageSha256 string

var boot = replace(
  replace(replace(loadTextContent('cloud-init.yaml'), 'PACKAGE_URL', packageUrl), 'PACKAGE_SHA256', packageSha256),
  'CLIENT_ID',
  clientId
)

resource workers 'Microsoft.Compute/virtualMachineScaleSets@2024-07-01' = {
  name: name
  location: location
  sku: {
    name: size
    capacity: instances
  }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    orchestrationMode: 'Uniform'
    upgradePolicy: {
      mode: 'Manual'
    }
    virtualMachineProfile: {
      osProfile: {
        computerNamePrefix: 'worker'
        // Not one of Debian's own groups, such as operator: no user could be made of that name.
        adminUsername: 'azureuser'
        customData: base64(boot)
        linuxConfiguration: {
          disablePasswordAuthentication: true
          ssh: {
            publicKeys: [
              {
                path: '/home/azureuser/.ssh/authorized_keys'
                keyData: sshPublicKey
              }
            ]
          }
        }
      }
      storageProfile: {
        imageReference: {
          publisher: 'Debian'
          offer: 'debian-12'
          sku: '12-gen2'
          version: 'latest'
        }
        osDisk: {
          createOption: 'FromImage'
          managedDisk: {
            storageAccountType: 'Premium_LRS'
          }
        }
      }
      securityProfile: {
        securityType: 'TrustedLaunch'
        uefiSettings: {
          secureBootEnabled: true
          vTpmEnabled: true
        }
      }
      networkProfile: {
        networkInterfaceConfigurations: [
          {
            name: 'nic'
            properties: {
              primary: true
              ipConfigurations: [
                {
                  name: 'ip'
                  properties: {
                    subnet: {
                      id: subnetId
                    }
                  }
                }
              ]
            }
          }
        ]
      }
    }
  }
}
